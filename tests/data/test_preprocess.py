import datasets
import numpy as np
import pytest
import torch
from kits.pictures import cache_dir, folder_of, noise, settings  # noqa: F401
from PIL import Image
from torchvision import transforms

from ddpm_app.data import preprocess
from ddpm_app.data.image_dataset import load


def tutorial_batches(folder, size, flip_probability, batch_size):
    """The tutorial's own data path, as it stands there but for the probability of the flip."""
    dataset = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), split="train", cache_dir=str(folder.parent / "hf")
    )
    compose = transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.RandomHorizontalFlip(flip_probability),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )

    def transform(training_tensors):
        return {"images": [compose(image.convert("RGB")) for image in training_tensors["image"]]}

    dataset.set_transform(transform)
    return torch.utils.data.DataLoader(dataset, batch_size=batch_size, shuffle=False)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(11):
        channels = 1 if i % 3 == 0 else 3
        Image.fromarray(noise(20 + 7 * i, 61 - 4 * i, channels, seed=i)).save(
            folder / f"{i:02}.{'png' if i % 2 else 'jpg'}"
        )
    return folder


@pytest.mark.parametrize("probability", [0, 1, 0.5])
def test_tensors_equal_the_tutorials_bit_for_bit(photos, probability):
    torch.manual_seed(3)
    batches = list(tutorial_batches(photos, 32, probability, 4))
    pictures = load(settings(photos, image_size=32))
    flips = {0: [False] * 11, 1: [True] * 11}.get(probability)
    if flips is None:  # one draw per picture from the global generator, in order
        torch.manual_seed(3)
        next(iter(torch.utils.data.DataLoader(range(1))))  # the loader's own draw, for the seed of its workers
        flips = [bool(torch.rand(1) < 0.5) for _ in range(11)]
        assert 2 < sum(flips) < 9
    first = 0
    for batch in batches:
        chosen = np.arange(first, first + len(batch["images"]))
        ours = pictures.tensors(chosen, [flips[i] for i in chosen])
        assert ours.dtype == torch.float32 and ours.is_contiguous()
        assert torch.equal(ours, batch["images"])
        first += len(chosen)
    assert first == 11


def test_our_dataset_in_the_tutorials_loader(photos):
    pictures = load(settings(photos, image_size=32))
    theirs = tutorial_batches(photos, 32, 0, 5)
    ours = torch.utils.data.DataLoader(pictures, batch_size=5)
    assert all(torch.equal(a["images"], b["images"]) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_byte_equals_to_tensor_and_normalize_and_comes_back(channels):
    pixels = np.stack([np.arange(256, dtype=np.uint8).reshape(16, 16)] * channels, -1)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    wanted = transforms.Normalize([0.5], [0.5])(transforms.ToTensor()(picture))
    got = preprocess.to_tensors(pixels[None])[0]
    assert torch.equal(got, wanted)
    assert np.array_equal(preprocess.to_display(got), pixels)


def test_display_clamps_and_survives_nan():
    tensor = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0, torch.nan]).reshape(1, 1, 6)
    assert preprocess.to_display(tensor).ravel().tolist() == [0, 0, 128, 255, 255, 0]


def test_display_takes_batches_and_half_precision():
    assert preprocess.to_display(torch.zeros(5, 3, 4, 6, dtype=torch.bfloat16)).shape == (5, 4, 6, 3)


def test_flips_leave_the_stored_pictures_alone():
    pixels = noise()[None].copy()
    before = pixels.copy()
    flipped = preprocess.to_tensors(pixels, [True])
    assert torch.equal(flipped, preprocess.to_tensors(pixels).flip(-1))
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("size", [8, 15, 32])
def test_crop_equals_torchvision(size):
    for shape in ((40, 23), (23, 40), (9, 9), (8, 100)):
        picture = Image.fromarray(noise(*shape))
        wanted = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])(picture)
        assert np.array_equal(preprocess.square(picture, size, "crop"), np.asarray(wanted))


def test_crop_of_a_scan_line_stays_small():
    line = Image.fromarray(np.tile(np.array([0, 255], np.uint8), 100_000)[None, :, None].repeat(3, -1))
    assert preprocess.square(line, 16, "crop").shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("width", "height", "inner"),
    [(40, 20, (8, 16)), (20, 40, (16, 8)), (1000, 1, (1, 16)), (16, 16, (16, 16)), (5, 3, (10, 16))],
)
def test_pad_fits_inside_and_fills_with_white(width, height, inner):
    black = Image.new("RGB", (width, height))
    got = preprocess.square(black, 16, "pad")
    dark = np.argwhere(got[..., 0] == 0)
    low, high = dark.min(0), dark.max(0)
    assert tuple(high - low + 1) == inner and got.shape == (16, 16, 3)
    assert (got[..., 0] == 255).sum() == 256 - inner[0] * inner[1]
    assert np.abs(low - (15 - high)).max() <= 1  # centred


def test_one_channel_is_the_grey_of_the_picture():
    picture = Image.fromarray(noise(16, 16))
    assert np.array_equal(preprocess.square(picture, 16, "squash", 1)[..., 0], np.asarray(picture.convert("L")))
