"""The stations of the Learn tab. Here is what the page must know of them; a file each holds ``show``, which turns what a probe measured
into panels and is imported when it is first needed."""

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ddpm_app.learn.station import Action, Choice, Slider, StationRequest, StationSpec, Textbox, Toggle

if TYPE_CHECKING:  # they import torch
    from ddpm_app.learn.context import LearnContext
    from ddpm_app.learn.panels import Panel

Show = Callable[["LearnContext", StationRequest], Iterator["list[Panel] | None"]]
"""Yields all panels so far, or None where a slice of work brought nothing to show yet. Each turn of the generator is one slice."""

FIRST_BLOCK = "up.1"
"""The block of the UNet that is chosen at first."""

_SPECS = (
    StationSpec(
        "tensor",
        controls=(
            Choice("mode", ("own", "squash", "crop", "pad")),
            Toggle("flip"),
            Slider("stretch", 1.0, 2.0, 0.1, 1.0),
        ),
        maths=(
            r"x=\frac{p/255-0.5}{0.5}\in[-1,1],\quad p\in\{0,\dots,255\}",
            r"p=\mathrm{round}\left(255\cdot\mathrm{clamp}\left(\frac{x+1}{2},0,1\right)\right)",
        ),
        code=(
            "ddpm_app.data.preprocess:square",
            "ddpm_app.data.preprocess:to_tensors",
            "ddpm_app.data.preprocess:to_display",
        ),
        uses=("picture",),
        network=False,
    ),
    StationSpec(
        "latent",
        controls=(Toggle("forget"),),
        maths=(
            r"x_0=f\cdot\mu(x),\quad\mathcal{E}(x)=\mathcal{N}(\mu(x),\sigma(x)^2),\quad f=1/\mathrm{std}(\mu)",
            r"\hat{x}=\mathcal{D}(x_0/f),\quad\mathrm{PSNR}=10\,\log_{10}\frac{2^2}{\mathrm{mean}\,(x-\hat{x})^2}",
        ),
        code=(
            "ddpm_app.model.codec:Vae.encode",
            "ddpm_app.model.codec:Vae.decode",
            "ddpm_app.model.reconstruction:psnr",
        ),
        uses=("picture",),
        model="butterflies-words",
        needs="latents",
    ),
    StationSpec(
        "noise",
        controls=(
            Choice("schedule", ("own", "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")),
            Choice("length", ("own", "1000", "200", "50")),
        ),
        maths=(
            r"x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon,\quad\epsilon\sim\mathcal{N}(0,I)",
            r"\bar\alpha_t=\prod_{s\leq t}(1-\beta_s),\quad\mathrm{SNR}_t=\bar\alpha_t/(1-\bar\alpha_t)",
        ),
        code=("ddpm_app.diffusion:add_noise", "ddpm_app.learn.probes.forward_process:levels"),
        follows_t=True,
    ),
    StationSpec(
        "unet",
        controls=(Textbox("block", FIRST_BLOCK),),
        maths=(
            r"\mathrm{emb}(t)=W_2\,\mathrm{SiLU}(W_1\,\gamma(t)),\quad\gamma(t)_{i}=\cos(t\,10000^{-i/(d/2)}),\;\gamma(t)_{d/2+i}=\sin(t\,10000^{-i/(d/2)})",
            r"h_{\mathrm{up}}=\mathrm{ResNet}(\,[\,h_{\mathrm{below}},\;h_{\mathrm{skip}}\,],\;\mathrm{emb}(t)\,)",
        ),
        code=(
            "ddpm_app.model.unet:unet_of",
            "ddpm_app.learn.probes.blocks:trace",
            "ddpm_app.learn.probes.blocks:embedding",
        ),
        follows_t=True,
    ),
    StationSpec(
        "guess",
        maths=(
            r"x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon,\quad v=\sqrt{\bar\alpha_t}\,\epsilon-\sqrt{1-\bar\alpha_t}\,x_0",
            r"\epsilon=\frac{x_t-\sqrt{\bar\alpha_t}\,x_0}{\sqrt{1-\bar\alpha_t}},\quad x_0=\sqrt{\bar\alpha_t}\,x_t-\sqrt{1-\bar\alpha_t}\,v",
        ),
        code=(
            "ddpm_app.learn.probes.guess:guess",
            "ddpm_app.learn.probes.guess:coefficients",
            "ddpm_app.diffusion:target",
        ),
        follows_t=True,
    ),
    StationSpec(
        "loss",
        controls=(Slider("back", 0.0, 1.0, 0.01, 0.0), Choice("pictures", ("16", "64"))),
        maths=(
            r"L_t=\mathbb{E}_{x_0,\epsilon}\,\frac{1}{n}\Vert f_\theta(\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon,\,t)-y_t\Vert^2",
            r"L=\frac{1}{T}\sum_{t}w_t\,L_t",
        ),
        code=("ddpm_app.train.denoising:denoising_loss", "ddpm_app.learn.probes.timesteps:losses"),
        uses=("t",),
        whole=True,
    ),
    StationSpec(
        "step",
        controls=(
            Slider("rate", -3.0, 2.0, 0.25, -0.5),
            Action("one"),
            Action("ten"),
            Action("hundred"),
            Action("reset"),
        ),
        maths=(
            r"L=\frac{1}{n}\sum_{i=1}^{n}w(t_i)\,\frac{1}{D}\Vert f_\theta(x_{t_i},t_i)-y_i\Vert^2",
            r"g=\nabla_\theta L,\quad g\leftarrow g\cdot\min(1,\,c/\Vert g\Vert)",
            r"m\leftarrow\beta_1 m+(1-\beta_1)g,\quad v\leftarrow\beta_2 v+(1-\beta_2)g^2",
            r"\theta\leftarrow\theta-\eta\,(\hat m/(\sqrt{\hat v}+\varepsilon)+\lambda\theta)",
            r"\theta_{\mathrm{EMA}}\leftarrow d\,\theta_{\mathrm{EMA}}+(1-d)\,\theta",
        ),
        code=(
            "ddpm_app.train.denoising:denoising_loss",
            "ddpm_app.learn.probes.step:Trial.update",
            "ddpm_app.train.loop:_Work.step",
        ),
        uses=("seed",),
        whole=True,
        model="butterflies-words",
    ),
    StationSpec(
        "epoch",
        controls=(
            Slider("pictures", 0, 4000, 1, 0),
            Slider("batch", 0, 128, 1, 0),
            Slider("accumulation", 0, 16, 1, 0),
            Slider("epochs", 0, 200, 1, 0),
        ),
        maths=(
            r"\mathrm{batches\ per\ epoch}=\lceil N/B\rceil,\quad\mathrm{steps\ per\ epoch}=\lceil\lceil N/B\rceil/A\rceil",
            r"\mathrm{steps}=\mathrm{epochs}\cdot\mathrm{steps\ per\ epoch}",
            r"g=\frac{1}{n}\sum_{a=1}^{A}\sum_{i\in\mathrm{batch}_a}\nabla_\theta L_i,\quad n=\sum_{a=1}^{A}|\mathrm{batch}_a|",
        ),
        code=(
            "ddpm_app.train.batches:steps_per_epoch",
            "ddpm_app.train.batches:Batches.indices",
            "ddpm_app.learn.probes.epoch:times_seen",
        ),
        uses=(),
        network=False,
        whole=True,
    ),
    StationSpec(
        "modes",
        controls=(
            Slider("dropout", 0.0, 0.5, 0.05, 0.0),
            Choice("trainable", ("up", "mid", "down", "ends", "attention", "all")),
        ),
        maths=(
            r"\mathrm{train:}\;\mathrm{Dropout}_p(h)=\frac{m\odot h}{1-p},\;m_i\sim\mathrm{Bernoulli}(1-p)",
            r"\mathrm{eval:}\;\mathrm{Dropout}_p(h)=h",
            r"\mathrm{both:}\;\mathrm{GroupNorm}(h)=\gamma\,\frac{h-\mu_g}{\sqrt{\sigma_g^2+\varepsilon}}+\beta",
        ),
        code=(
            "ddpm_app.model.unet:freeze",
            "ddpm_app.learn.probes.train_eval:gradients",
            "ddpm_app.learn.probes.train_eval:activation_bytes",
        ),
    ),
    StationSpec(
        "walk",
        controls=(Slider("steps", 5, 50, 1, 10), Slider("eta", 0.0, 1.0, 0.1, 0.0), Action("measure")),
        maths=(
            r"x_{t'}=\sqrt{\bar\alpha_{t'}}\,\hat{x}_0+\sqrt{1-\bar\alpha_{t'}-\sigma^2}\,\hat\epsilon+\sigma z",
            r"\sigma=\eta\sqrt{\frac{1-\bar\alpha_{t'}}{1-\bar\alpha_t}}\sqrt{1-\frac{\bar\alpha_t}{\bar\alpha_{t'}}}",
            r"\eta=0:\ \mathrm{DDIM},\quad\eta=1:\ \mathrm{DDPM}",
        ),
        code=("ddpm_app.sample:denoise", "ddpm_app.sample:make_sampler", "ddpm_app.learn.probes.samplers:measure"),
        uses=("condition", "seed"),
    ),
    StationSpec(
        "ema",
        controls=(Slider("window", 0.01, 1.0, 0.01, 0.1), Slider("steps", 2, 20, 1, 8)),
        maths=(
            r"\bar\theta_n=d_n\,\bar\theta_{n-1}+(1-d_n)\,\theta_n,\quad d_n=1-\frac{1}{1+w\,(n-1)}",
            r"\bar\theta_n=\sum_{k=1}^{n}c_k\,\theta_k,\quad c_k=(1-d_k)\prod_{j=k+1}^{n}d_j\;\propto\;k^{1/w-1}",
        ),
        code=("ddpm_app.model.ema:make_ema", "ddpm_app.learn.probes.ema:weights"),
        uses=("condition", "seed"),
        whole=True,
    ),
    StationSpec(
        "words",
        controls=(Textbox("prompt", conditional=True), Textbox("other", conditional=True)),
        maths=(
            r"\hat x_w=f_\theta(x_t,t,\varnothing)+w\left(f_\theta(x_t,t,c)-f_\theta(x_t,t,\varnothing)\right)",
            r"\cos(a,b)=\frac{a\cdot b}{\Vert a\Vert\,\Vert b\Vert}",
        ),
        code=(
            "ddpm_app.sample:CFGDenoiser",
            "ddpm_app.learn.probes.words:tokens",
            "ddpm_app.learn.probes.words:similarity",
        ),
        model="butterflies-words",
        needs="condition",
        follows_t=True,
    ),
    StationSpec(
        "memory",
        controls=(Choice("count", ("4", "8")),),
        maths=(
            r"d(x,y)=\min\left(\,\Vert\downarrow x-\downarrow y\Vert,\;\Vert\downarrow\mathrm{mirror}(x)-\downarrow y\Vert\,\right)/\sqrt{n}",
            r"\min_{y\in\mathrm{train}}d(x,y)\;<\;0.4\cdot\mathrm{median}_{h\in\mathrm{held\,out}}\;\min_{y\in\mathrm{train}}d(h,y)",
        ),
        code=("ddpm_app.learn.probes.memorization:search", "ddpm_app.learn.probes.memorization:verdict"),
        uses=("seed",),
        whole=True,
    ),
    StationSpec(
        "between",
        controls=(
            Choice("way", ("slerp", "line", "asked")),
            Slider("second", 0, 99, 1, 1),
            Textbox("first", conditional=True),
            Textbox("last", conditional=True),
        ),
        maths=(
            r"\mathrm{slerp}(a,b,u)=\frac{\sin((1-u)\,\theta)}{\sin\theta}\,a+\frac{\sin(u\,\theta)}{\sin\theta}\,b",
            r"\cos\theta=\frac{a\cdot b}{\Vert a\Vert\,\Vert b\Vert}",
            r"\mathrm{lerp}(a,b,u)=(1-u)\,a+u\,b,\quad\Vert\mathrm{lerp}\Vert\approx\sqrt{u^2+(1-u)^2}\,\sqrt{D}",
        ),
        code=("ddpm_app.learn.probes.slerp:slerp", "ddpm_app.learn.probes.slerp:blended"),
        uses=("condition", "seed"),
    ),
)
SPECS: dict[str, StationSpec] = {spec.id: spec for spec in _SPECS}
"""By id, in the order of a picture's path: PNG, tensor, latent, noise, the UNet's guess, loss, step, and the way back."""
ORDER = tuple(SPECS)


def load(name: str) -> Show:
    """The ``show`` of a station, one of SPECS. Imports torch."""
    return importlib.import_module(f"{__name__}.{name}").show
