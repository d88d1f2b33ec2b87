"""Make the small CLIP that ships with the app: a tokenizer and a text encoder for words about butterflies.

`python assets/make/clip.py [--steps N]` writes assets/models/butterflies-clip/: tokenizer/ (one token per word) and text_encoder/
(a transformers CLIPTextModel in float16). It is trained as CLIP is (arXiv 2103.00020) beside an image encoder that is thrown away,
on the built-in training split only, and tells how well it finds the held-out specimens' captions. About six minutes on one core.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast  # noqa: E402

from ddpm_app import presets  # noqa: E402
from ddpm_app.data import image_dataset  # noqa: E402

OUT = ROOT / "assets" / "models" / "butterflies-clip"
LENGTH = 32
"""Tokens of a prompt: the longest caption of the set has 18, start and end counted."""
WIDTH, LAYERS, HEADS = 128, 2, 4
BATCH, SEED, LEARNING_RATE = 128, 0, 1e-3
UNKNOWN, START, END = "<unk>", "<|startoftext|>", "<|endoftext|>"
CAPTION = re.compile(r"an? (small |large )?(.+?) (butterfly|moth) with (.+)")


def words_in(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """One token per word of `texts`, lower case, punctuation dropped; start, end and padding as Stable Diffusion's CLIP has them."""
    words = sorted({word for text in texts for word in words_in(text)})
    vocabulary = {
        word: k for k, word in enumerate([UNKNOWN, *words, START, END])
    }  # the end has the highest number, as in CLIP
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\W+"), "removed")
    ends = [(token, vocabulary[token]) for token in (START, END)]
    core.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    special = dict(unk_token=UNKNOWN, bos_token=START, eos_token=END, pad_token=END)
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=LENGTH, padding_side="right", **special)


def make_text_encoder(tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
    """Its pooled output, the last layer at the end token, is what is compared with pictures: there is no projection."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, max_position_embeddings=LENGTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))  # fmt: skip


def make_image_encoder() -> nn.Module:
    """Pictures [N, 3, 64, 64] -> [N, WIDTH]."""
    layers: list[nn.Module] = []
    channels = [3, 24, 48, 96, 128]
    for before, after in zip(channels, channels[1:], strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(128 * 4 * 4, WIDTH))


def listed(phrases: list[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)


def said(caption: str, species: str, rng: np.random.Generator) -> str:
    """The caption, or something shorter that is as true, as people type it: "blue butterfly", "a photo of a monarch with black veins".

    Each of the specimen's ground colours and marks may go unsaid; its species' name may stand for size and colour.
    """
    size, ground, noun, marks = CAPTION.fullmatch(caption).groups()
    if rng.random() < 0.25:
        return caption
    colours, phrases = ground.split(" and "), re.split(", | and ", marks)
    colours = [c for c in colours if rng.random() < 0.7] or [rng.choice(colours)]
    phrases = [p for p in phrases if rng.random() < rng.choice([0, 0.3, 0.7])]
    size = (size or "") if rng.random() < 0.5 else ""
    name = species if species.endswith(noun) or rng.random() < 0.5 else f"{species} {noun}"
    text = f"{size}{name if rng.random() < 0.35 else f'{listed(colours)} {noun}'}"
    if phrases and rng.random() < 0.1:
        return listed(phrases)
    article = "" if rng.random() < 0.2 else "an " if text[0] in "aeiou" else "a "
    start = "a photo of " if rng.random() < 0.1 else ""
    return f"{start}{article}{text}{' with ' + listed(phrases) if phrases else ''}"


def tokens(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """Token numbers [N, longest of these texts]: what follows the end doesn't reach the pooled output."""
    return tokenizer(texts, padding="longest", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """CLIP's symmetrical loss over unit vectors [N, D]; `same` [N, N]: texts that are equal are all right answers."""
    logits = scale * images @ texts.T
    right = same.float() / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def train(
    data: image_dataset.ImageDataset, tokenizer: PreTrainedTokenizerFast, steps: int
) -> tuple[CLIPTextModel, nn.Module]:
    """Both encoders, trained from nothing on the training split."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    text_encoder, image_encoder = make_text_encoder(tokenizer).train(), make_image_encoder()
    log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    parameters = [*text_encoder.parameters(), *image_encoder.parameters(), log_scale]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    begun = time.monotonic()
    for step in range(1, steps + 1):
        rows = rng.choice(data.train, BATCH, replace=False)
        ids = tokens(tokenizer, [said(data.captions[i], data.label_names[data.labels[i]], rng) for i in rows])
        same = (ids[:, None] == ids).all(-1)
        word = (ids > 0) & (ids < tokenizer.bos_token_id)
        ids = torch.where(
            word & torch.from_numpy(rng.random(ids.shape) < 0.03), tokenizer.unk_token_id, ids
        )  # unknown words say nothing
        x = shifted(data.tensors(rows, rng.random(BATCH) < 0.5), rng)
        images, texts = F.normalize(image_encoder(x)), F.normalize(text_encoder(ids).pooler_output)
        loss = contrastive_loss(images, texts, log_scale.exp().clamp(max=100), same)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.3f}, {time.monotonic() - begun:.0f} s", flush=True)
    return text_encoder.eval(), image_encoder.eval()


def shifted(x: Tensor, rng: np.random.Generator) -> Tensor:
    """The batch moved by up to 4 pixels, its edge carried on."""
    top, left = rng.integers(0, 9, 2)
    return F.pad(x, (4, 4, 4, 4), mode="replicate")[..., top : top + x.shape[-2], left : left + x.shape[-1]]


@torch.no_grad()
def nearest(
    tokenizer: PreTrainedTokenizerFast, text_encoder: CLIPTextModel, images: Tensor, texts: list[str]
) -> list[list[int]]:
    """For each unit vector of `images` [N, D]: the numbers of all `texts`, the nearest first."""
    vectors = F.normalize(text_encoder(tokens(tokenizer, texts)).pooler_output)
    return (images @ vectors.T).argsort(1, descending=True).tolist()


def report(
    data: image_dataset.ImageDataset,
    tokenizer: PreTrainedTokenizerFast,
    text_encoder: CLIPTextModel,
    image_encoder: nn.Module,
) -> None:
    """Print how often held-out specimens find their own caption, species and ground colour among all, beside a blind choice.

    Equal captions count as one; of two ground colours either is right."""
    with torch.no_grad():
        images = F.normalize(image_encoder(data.tensors(data.held_out)))
    captions = [data.captions[i] for i in data.held_out]
    grounds = [CAPTION.fullmatch(c)[2].split(" and ") for c in captions]
    colours = sorted({colour for several in grounds for colour in several})
    names, labels = data.label_names, [data.labels[i] for i in data.held_out]
    questions = {
        "own caption": (captions, [{k for k, other in enumerate(captions) if other == c} for c in captions], (1, 5)),
        "a {species}": ([f"a {name}" for name in names], [{label} for label in labels], (1,)),
        "a {colour} butterfly": (
            [f"a {c} butterfly" for c in colours],
            [{colours.index(c) for c in several} for several in grounds],
            (1,),
        ),
    }
    for name, (texts, right, tops) in questions.items():
        order = nearest(tokenizer, text_encoder, images, texts)
        for top in tops:
            hits = np.mean([bool(good & set(row[:top])) for good, row in zip(right, order, strict=True)])
            chance = np.mean(
                [1 - math.comb(len(texts) - len(good), top) / math.comb(len(texts), top) for good in right]
            )
            print(
                f"{name}: among the nearest {top} of {len(texts)} for {hits:.1%} of held-out specimens (chance {chance:.1%})"
            )


def save(tokenizer: PreTrainedTokenizerFast, text_encoder: CLIPTextModel) -> None:
    """Both in half precision. The tokenizer's class is called what every release of transformers calls it."""
    shutil.rmtree(OUT, ignore_errors=True)
    tokenizer.save_pretrained(OUT / "tokenizer")
    settings = OUT / "tokenizer" / "tokenizer_config.json"
    settings.write_text(
        json.dumps(json.loads(settings.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n"
    )
    text_encoder.half().save_pretrained(OUT / "text_encoder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    data = image_dataset.load(presets.build("butterflies-64"))
    captions = [data.captions[i] for i in data.train]
    tokenizer = make_tokenizer([*captions, *data.label_names, "a photo of"])
    text_encoder, image_encoder = train(data, tokenizer, steps)
    print(f"{len(tokenizer)} tokens, {sum(p.numel() for p in text_encoder.parameters()):,} parameters")
    report(data, tokenizer, text_encoder, image_encoder)
    save(tokenizer, text_encoder)
    print(f"{OUT}: {sum(f.stat().st_size for f in OUT.rglob('*') if f.is_file()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
