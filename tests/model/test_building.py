"""Networks are made one at a time: while a library loads one, whatever else is made in the process would come out without weights."""

import concurrent.futures
import threading

import pytest
import torch

from ddpm_app import presets
from ddpm_app.learn.probes.slerp import blended
from ddpm_app.model import locate, pipeline
from ddpm_app.model.building import BUILDING
from ddpm_app.model.unet import build_unet
from ddpm_app.model.vae import build_vae

CONFIG = presets.build("quick-check")


def embeddings_of_labels():
    unet = build_unet(CONFIG, labels=3)
    first, second, neither = ({"class_labels": torch.tensor([k])} for k in range(3))
    return blended(unet, first, second, neither, torch.tensor([0.5]))[0]


MAKERS = {
    "unet": lambda: build_unet(CONFIG),
    "autoencoder": lambda: build_vae(presets.build("autoencoder-128", init_from=None)),
    "loaded autoencoder": lambda: pipeline.load_vae(str(locate.SHIPPED / "pictures-vae")).vae,
    "loaded pipeline": lambda: pipeline.load(locate.SHIPPED / "butterflies-words", "butterflies-words").unet,
    "embeddings": embeddings_of_labels,
}


def others_may_build():
    """Whether another thread could make a network now."""

    def attempt():
        if free := BUILDING.acquire(blocking=False):
            BUILDING.release()
        return free

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(attempt).result()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_nobody_makes_a_network_while_another_is_made(make, monkeypatch):
    moments = []
    for layer in (torch.nn.Conv2d, torch.nn.Linear, torch.nn.Embedding):
        plain = layer.__init__

        def init(self, *arguments, _plain=plain, **options):
            moments.append(others_may_build())
            _plain(self, *arguments, **options)

        monkeypatch.setattr(layer, "__init__", init)
    make()
    assert moments and not any(moments) and others_may_build()


def test_networks_that_are_made_at_once_all_have_their_weights():
    alone = [parameter.clone() for parameter in build_unet(CONFIG).parameters()]
    together = threading.Barrier(4)

    def make(name):
        together.wait(60)
        return [list(MAKERS[name]().parameters()) for _ in range(3)]

    names = ["unet", "loaded autoencoder", "unet", "loaded pipeline"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = dict(zip(["a", "vae", "b", "words"], pool.map(make, names), strict=True))
    assert not any(parameter.is_meta for networks in made.values() for network in networks for parameter in network)
    for network in made["a"] + made["b"]:
        assert all(map(torch.equal, network, alone))
    assert not any(parameter.is_meta for parameter in torch.nn.Linear(2, 2).parameters()), "torch is as it was"
