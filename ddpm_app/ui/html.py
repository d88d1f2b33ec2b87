"""Pieces of HTML for the page, built with markupsafe: what is filled in is escaped, unless it is Markup itself."""

from collections.abc import Iterable

from markupsafe import Markup
from PIL import Image

from ddpm_app.errors import Problem
from ddpm_app.i18n import problem_on_page
from ddpm_app.images import data_uri

LOGO = Markup(
    '<svg viewBox="0 0 32 32" aria-hidden="true"><path fill="currentColor" d="M15 16C12 5 4 3 2 6s2 11 9 11c-5 1-7 5-5 8s7 2 9-6z"/>'
    '<path fill="currentColor" opacity=".75" d="M17 16C20 5 28 3 30 6s-2 11-9 11c5 1 7 5 5 8s-7 2-9-6z"/></svg>'
)


def brand() -> Markup:
    """The app's sign and name."""
    return Markup('<h1 class="studio-brand">{}<span>DDPM Studio</span></h1>').format(LOGO)


def notice(outcome: Problem | str, lang: str = "en") -> Markup:
    """The outcome of a click: a problem in red, a sentence plain, nothing for ""."""
    text = problem_on_page(outcome, lang) if isinstance(outcome, Problem) else outcome
    return note(text, "bad" if isinstance(outcome, Problem) else "good", role="status") if text else Markup()


def note(text: str, kind: str = "", role: str = "") -> Markup:
    """A framed line; ``kind`` is "good", "warn", "bad" or plain; ``role`` "status" or "alert" reads it aloud."""
    return _framed("note", text, kind, role)


def remark(text: str, kind: str = "", role: str = "") -> Markup:
    """A line about a run, on a tinted ground; ``kind`` is "good", "error" or plain, ``role`` as in ``note``."""
    return _framed("notice", text, kind, role)


def _framed(family: str, text: str, kind: str, role: str) -> Markup:
    classes = f"{family} {kind}".strip()
    return (
        Markup('<div class="{}" role="{}">{}</div>').format(classes, role, text)
        if role
        else Markup('<div class="{}">{}</div>').format(classes, text)
    )


def empty_state(title: str, text: str) -> Markup:
    """What stands where something will be."""
    return Markup('<div class="empty"><h2>{}</h2><p>{}</p></div>').format(title, text)


def join(parts: Iterable[str]) -> Markup:
    """Pieces one after the other; a plain text among them is escaped."""
    return Markup("").join(parts)


def histogram(bars: Iterable[tuple[str, float, str]]) -> Markup:
    """Horizontal bars: (label, length 0 to 1, value)."""
    rows = (
        Markup('<div><span>{}</span><i style="width:{:.1f}%"></i><b>{}</b></div>').format(label, 100 * share, value)
        for label, share, value in bars
    )
    return Markup('<div class="histogram">{}</div>').format(join(rows))


def bar(share: float | None, kind: str = "", label: str = "") -> Markup:
    """How much is done, 0 to 1; None where nobody knows: it slides. ``kind`` "still" keeps its place empty; ``label`` names it for those
    who can't see it."""
    if share is None:
        kind, share = "open", 0.3
    spoken = Markup(' role="progressbar" aria-label="{}" aria-valuenow="{:.0f}"').format(label, 100 * share)
    return Markup('<div class="{}"{}><i style="width:{:.1f}%"></i></div>').format(
        f"bar {kind}".strip(), spoken if label else "", 100 * share
    )


def facts(rows: Iterable[tuple[str, str]]) -> Markup:
    """A list of what is what: (name, value)."""
    cells = (Markup("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows)
    return Markup('<dl class="facts">{}</dl>').format(join(cells))


def quiet(text: str) -> Markup:
    """A paragraph in the background."""
    return Markup('<p class="quiet">{}</p>').format(text)


def thumbnail(image: Image.Image, alt: str, side: int) -> Markup:
    """A picture that carries its pixels, lossless up to ``side`` pixels; small ones are blown up with hard edges."""
    small = image.copy()
    small.thumbnail((side, side))
    classes = Markup(' class="pixelated"') if max(small.size) <= side // 4 else ""
    return Markup('<img{} alt="{}" src="{}">').format(classes, alt, data_uri(small))
