"""The table of species: a body, two outlines (fore wing, hind wing) and the marks from the bottom up, for each.

In a mark's values (low, high) is drawn anew for each specimen, and `chance` is that of the mark to be there at all. A
pair to be taken as it stands is a list.
"""

from dataclasses import dataclass

from ddpm_app.specimens.marks import (
    Mark,
    band,
    cells,
    costa,
    disc,
    dust,
    edge,
    ground,
    margin,
    patch,
    sheen,
    spots,
    streak,
    tip,
    veins,
)
from ddpm_app.specimens.wings import Outline


@dataclass(frozen=True)
class Kind:
    """A species as it is drawn. `body`: colours of thorax and abdomen, half width; `span`: size among the others."""

    name: str
    body: tuple[str, str, float]
    fore: Outline
    hind: Outline
    marks: list[Mark]
    noun: str = "butterfly"
    span: float = 1.0


INK, STRAW, JADE = "#1a1411", "#f6e79a", "#a6dc8a"
PEACOCK_FORE = [[0.82, "#8c2a24", 0.0], [0.6, "#2b1d2c", 0.05], [0.4, "#6f7fc6", 0.3]]
PEACOCK_HIND = [[0.78, "#17131a", 0.0], [0.5, "#4d72d2", 0.1], [0.22, "#17131a", 0.1]]
LUNA_EYE = [[0.8, "#f0d878", 0.0], [0.42, "#3c3040", 0.1]]
APOLLO_EYE = [[0.74, "#d8321e", 0.0], [0.3, "#f6efe6", 0.0]]

# fmt: off
KINDS = (
    Kind("monarch", ("#1c1714", "#2a211c", 0.052),
        Outline("30 -31  62 -57  95 -68  94 -48  81 -20  74 0  42 7  14 11  1 15"),
        Outline("28 -14  58 -10  72 8  72 32  58 54  36 66  15 56  4 30", scallop=0.02), [
        Mark(ground, "fh", "#f0942a", "ground", outer="#dd6a14"),
        Mark(tip, "f", INK, "tips", size=(0.30, 0.36), bow=0.06),
        Mark(margin, "fh", INK, "margins", width=(0.075, 0.11), wave=0.25),
        Mark(veins, "fh", INK, "veins", width=(0.011, 0.017)),
        Mark(costa, "f", INK, width=0.024),
        Mark(spots, "f", "#ee9438", u=0.74, r=0.038, first=0, last=1, stretch=1.5),
        Mark(spots, "f", "#fbf6ea", "spots", u=0.865, r=(0.017, 0.022), first=-1, last=2, chance=0.8),
        Mark(spots, "fh", "#fbf6ea", "spots", u=0.945, r=(0.015, 0.02), skip=(0, 0.2)),
        Mark(edge, "fh", INK, width=0.008)]),
    Kind("blue morpho", ("#221b1a", "#2c2422", 0.042),
        Outline("28 -40  60 -68  90 -74  95 -52  86 -22  80 2  44 9  14 11  1 15"),
        Outline("30 -16  66 -12  85 12  83 40  66 65  40 80  18 66  4 32", scallop=0.03), [
        Mark(ground, "fh", "#1c55cf", "ground", outer="#2f8be6"),
        Mark(sheen, "fh", "#7fd0ff", u=(0.5, 0.68), width=0.34, strength=(0.3, 0.5)),
        Mark(veins, "fh", "#123a86", width=0.006, strength=0.6),
        Mark(tip, "f", "#15121a", size=(0.24, 0.34), bow=0.1),
        Mark(margin, "fh", "#15121a", "margins", width=(0.05, 0.11), wave=0.1, v=[-0.2, 1.4]),
        Mark(costa, "f", "#15121a", width=0.03),
        Mark(spots, "f", "#f5f7ff", "spots", u=0.90, r=(0.014, 0.022), first=-1, last=4, skip=(0, 0.3)),
        Mark(dust, "fh", "#152a5c", reach=(0.25, 0.4), strength=0.6)]),
    Kind("tiger swallowtail", ("#2a241c", "#d8b640", 0.05),
        Outline("28 -36  60 -64  93 -78  92 -56  82 -24  75 2  40 9  14 11  1 15"),
        Outline("26 -12  54 -6  68 14  66 40  55 62  34 76  15 62  4 30", scallop=0.04, tail="46 58  53 80  56 100", width=0.04), [
        Mark(ground, "fh", "#fbdc4e", "ground", outer="#f4c52c"),
        Mark(margin, "fh", INK, "margins", width=(0.12, 0.16), wave=0.15, v=[-0.1, 1.3]),
        Mark(streak, "f", INK, "stripes", line=[0.97, -0.74, 0.36, 1.4], width=(0.06, 0.09), taper=0.5),
        Mark(streak, "f", INK, "stripes", line=[0.97, -0.52, 0.60, 0.95], width=(0.07, 0.095), taper=0.75),
        Mark(streak, "f", INK, "stripes", line=[0.97, -0.34, 0.66, 0.42], width=(0.06, 0.08), taper=0.6),
        Mark(streak, "f", INK, "stripes", line=[0.97, -0.19, 0.80, 0.30], width=(0.05, 0.07), taper=0.4),
        Mark(streak, "h", INK, "stripes", line=[0.5, -0.55, 0.8, 1.1], width=(0.06, 0.09), taper=0.6, bend=-0.1),
        Mark(spots, "fh", "#fae07a", "spots", u=0.93, r=(0.022, 0.028), stretch=0.8, skip=(0, 0.2)),
        Mark(spots, "h", "#5b8fe0", "spots", u=0.81, r=(0.04, 0.052), first=2, stretch=0.7, shape="crescent"),
        Mark(patch, "h", "#e8622a", u=0.86, v=1.0, r=0.045),
        Mark(veins, "fh", INK, width=0.005, strength=0.7),
        Mark(costa, "f", INK, width=0.024),
        Mark(edge, "fh", INK, width=0.007)]),
    Kind("peacock", ("#4a2a1c", "#5a3626", 0.055),
        Outline("30 -38  60 -62  87 -71  91 -56  79 -36  81 -14  72 3  40 9  14 11  1 15", corner=7, scallop=0.02),
        Outline("30 -14  60 -8  74 12  70 32  66 53  50 60  34 68  15 56  4 28", corner=7, scallop=0.03), [
        Mark(ground, "fh", "#8e2d1c", "ground", outer="#b43a22"),
        Mark(margin, "fh", "#6b5a4c", "margins", width=(0.06, 0.09), wave=0.2, v=[-0.1, 1.6]),
        Mark(dust, "h", "#5b4436", reach=(0.5, 0.7), strength=0.9),
        Mark(costa, "f", "#2a1c18", width=0.03),
        Mark(patch, "f", "#221719", u=0.42, v=-0.35, r=0.075, shape="block"),
        Mark(patch, "f", "#f0d58a", u=0.58, v=-0.42, r=0.06, shape="block", stretch=0.8),
        Mark(patch, "f", "#221719", u=0.70, v=-0.3, r=0.055, shape="block", stretch=0.7),
        Mark(patch, "f", "#efc766", "eyespots", u=0.80, v=0.12, r=(0.12, 0.14), rings=PEACOCK_FORE),
        Mark(patch, "h", "#cdbb98", "eyespots", u=0.70, v=0.10, r=(0.15, 0.175), rings=PEACOCK_HIND),
        Mark(spots, "f", "#f1e8f0", "spots", u=0.86, r=0.014, first=2, last=5, skip=(0, 0.4)),
        Mark(edge, "fh", "#3a2a24", width=0.007)]),
    Kind("orange tip", ("#4c4a48", "#8a8680", 0.04),
        Outline("30 -38  60 -64  86 -72  92 -54  85 -24  74 2  40 8  14 11  1 15"),
        Outline("30 -14  60 -8  74 12  73 36  60 58  38 70  16 58  4 28"), [
        Mark(ground, "fh", "#f4f1e2", "ground", outer="#efead6"),
        Mark(tip, "f", "#f08a1e", "tips", size=(0.40, 0.52), soft=0.02),
        Mark(tip, "f", "#3a332e", size=(0.13, 0.2), bow=0.1),
        Mark(margin, "f", "#3a332e", width=(0.025, 0.04), wave=0.5, v=[-0.3, 0.7]),
        Mark(dust, "fh", "#6f6c66", reach=(0.25, 0.4), strength=0.75),
        Mark(veins, "fh", "#b9b3a0", width=0.0045, strength=0.7),
        Mark(patch, "f", "#26211e", u=0.5, v=0.1, r=(0.025, 0.04), stretch=0.7),
        Mark(spots, "h", "#8f9a5e", u=0.7, r=(0.02, 0.035), skip=(0.2, 0.7), chance=0.6),
        Mark(edge, "fh", "#a39c8c", width=0.006)], span=0.92),
    Kind("brimstone", ("#8a8452", "#c9bf72", 0.046),
        Outline("28 -42  58 -68  92 -78  84 -54  80 -24  72 2  40 8  14 11  1 15"),
        Outline("30 -14  60 -8  74 12  72 32  73 54  54 60  36 70  15 58  4 28", corner=7), [
        Mark(ground, "fh", "#f7ee58", "ground", outer="#eddc2e"),
        Mark(sheen, "fh", "#fffbb0", u=0.6, width=0.3, strength=0.45),
        Mark(veins, "fh", "#c2b530", width=0.005, strength=0.8),
        Mark(dust, "fh", "#a9a040", reach=(0.3, 0.45), strength=0.5),
        Mark(patch, "f", "#e07a1c", "spots", u=0.50, v=0.25, r=(0.038, 0.05)),
        Mark(patch, "h", "#e07a1c", "spots", u=0.50, v=0.35, r=(0.042, 0.06)),
        Mark(edge, "fh", "#b58a2c", width=0.006)], span=0.95),
    Kind("red admiral", ("#2e221c", "#3c2d24", 0.054),
        Outline("30 -36  62 -60  88 -69  93 -54  82 -30  79 -8  70 4  40 9  14 11  1 15", corner=7, scallop=0.02),
        Outline("30 -14  58 -8  72 12  71 36  58 58  36 68  15 56  4 28", scallop=0.04), [
        Mark(ground, "fh", "#3d2a20", "ground", outer="#1c1513"),
        Mark(streak, "f", "#e2481e", "bands", line=[0.96, -0.52, 0.93, 0.88], width=(0.12, 0.165), bend=0.06),
        Mark(margin, "h", "#e2481e", "margins", width=(0.11, 0.14), v=[0.1, 1.05]),
        Mark(spots, "h", "#1c1513", u=0.92, r=(0.017, 0.024), first=1, last=6),
        Mark(patch, "f", "#faf5ea", "spots", u=0.72, v=-0.22, r=(0.05, 0.06), shape="block", stretch=0.6),
        Mark(spots, "f", "#faf5ea", "spots", u=0.88, r=(0.02, 0.028), first=-1, last=2, stretch=0.8, skip=(0, 0.2)),
        Mark(patch, "h", "#5d7fd0", u=0.94, v=0.99, r=0.03),
        Mark(margin, "fh", "#171110", width=0.016)]),
    Kind("luna moth", ("#f2eee0", "#efe9d6", 0.068),
        Outline("30 -42  62 -60  94 -60  89 -40  76 -14  66 6  36 11  14 11  1 15"),
        Outline("26 -10  50 0  60 20  54 44  42 58  26 62  12 48  4 26", tail="34 44  36 80  42 108  54 128  70 138", width=0.058), [
        Mark(ground, "fh", "#c6e6a8", "ground", outer="#a4d28c"),
        Mark(sheen, "fh", "#ecf8d4", u=0.35, width=0.35, strength=0.5),
        Mark(veins, "fh", "#86b878", width=0.005, strength=0.7),
        Mark(band, "fh", "#8fc07c", u=(0.78, 0.84), width=0.022, wave=0.2),
        Mark(costa, "f", "#8e3a58", width=(0.024, 0.034)),
        Mark(patch, "f", "#7a3c4c", "eyespots", u=0.56, v=-0.06, r=(0.05, 0.062), rings=LUNA_EYE),
        Mark(patch, "h", "#7a3c4c", "eyespots", u=0.52, v=0.28, r=(0.055, 0.068), rings=LUNA_EYE),
        Mark(edge, "fh", "#8fc080", width=0.005)], noun="moth"),
    Kind("zebra longwing", ("#1d1917", "#2c2620", 0.038),
        Outline("34 -25  68 -44  99 -52  102 -38  88 -15  68 2  38 8  14 11  1 15"),
        Outline("30 -10  60 -4  74 12  66 34  48 50  30 55  13 44  3 24", scallop=0.03), [
        Mark(ground, "fh", "#241d1a", "ground", outer="#17120f"),
        Mark(streak, "f", STRAW, "stripes", line=[0.1, 0.2, 0.72, 0.98], width=(0.09, 0.12), taper=0.2, bend=0.08),
        Mark(streak, "f", STRAW, "stripes", line=[0.96, -0.45, 0.80, 0.66], width=(0.075, 0.10), taper=0.2),
        Mark(streak, "f", STRAW, "stripes", line=[0.95, -0.2, 0.88, 0.42], width=(0.06, 0.08), taper=0.2),
        Mark(streak, "h", STRAW, "stripes", line=[0.1, 0.9, 0.7, -0.05], width=(0.1, 0.13), bend=-0.06),
        Mark(spots, "h", STRAW, "spots", u=0.76, r=(0.022, 0.03), stretch=1.1, skip=(0, 0.2)),
        Mark(spots, "h", STRAW, u=0.92, r=(0.014, 0.018)),
        Mark(edge, "fh", "#17120f", width=0.007)]),
    Kind("glasswing", ("#33261f", "#4a382c", 0.036),
        Outline("32 -30  66 -52  94 -58  98 -42  83 -16  64 2  36 8  14 11  1 15"),
        Outline("28 -12  54 -6  68 12  64 36  48 54  30 60  13 48  3 24"), [
        Mark(ground, "fh", "#dbe8ea", "ground", outer="#c6d9de"),
        Mark(sheen, "fh", "#f2f3ff", u=0.5, width=0.3, strength=0.5),
        Mark(veins, "fh", "#5a3a28", "veins", width=(0.008, 0.011)),
        Mark(tip, "f", "#4a2a1c", size=(0.22, 0.28), bow=0.1),
        Mark(margin, "fh", "#4a2a1c", "margins", width=(0.06, 0.085), wave=0.3),
        Mark(streak, "f", "#fbf9f2", "bands", line=[0.96, -0.40, 0.76, 0.5], width=(0.09, 0.12)),
        Mark(margin, "h", "#c65a24", "margins", width=(0.035, 0.05), v=[0, 1.1]),
        Mark(costa, "f", "#5a3322", width=0.024),
        Mark(edge, "fh", "#33211a", width=0.009)], span=0.97),
    Kind("mourning cloak", ("#3a2420", "#4a302a", 0.055),
        Outline("30 -38  60 -63  86 -72  92 -58  80 -38  82 -16  73 2  40 9  14 11  1 15", corner=7, scallop=0.03),
        Outline("30 -14  60 -8  76 10  72 32  68 55  50 62  34 70  15 58  4 28", corner=7, scallop=0.04), [
        Mark(ground, "fh", "#5a2420", "ground", outer="#70302a"),
        Mark(margin, "fh", "#1d1416", width=(0.17, 0.2), wave=0.1, v=[0, 1.25]),
        Mark(margin, "fh", "#f3e3a4", "margins", width=(0.075, 0.105), wave=0.2, v=[0, 1.25]),
        Mark(spots, "fh", "#5f86e0", "spots", u=0.835, r=(0.019, 0.026), skip=(0, 0.2)),
        Mark(patch, "f", "#f3e3a4", u=0.60, v=-0.4, r=0.04, shape="block", stretch=0.6),
        Mark(patch, "f", "#f3e3a4", u=0.79, v=-0.36, r=0.045, shape="block", stretch=0.6),
        Mark(veins, "fh", "#3d1816", width=0.005, strength=0.6),
        Mark(costa, "f", "#2c1a18", width=0.024)]),
    Kind("birdwing", ("#1d1a16", "#e2b73a", 0.058),
        Outline("32 -36  66 -66  100 -84  99 -66  82 -34  66 -4  34 6  14 11  1 15"),
        Outline("24 -8  48 -2  60 14  58 36  46 56  29 64  13 50  3 26", scallop=0.03), [
        Mark(ground, "f", "#16130f", "ground", outer="#1c1814"),
        Mark(ground, "h", "#2fa05a", "ground", outer="#58c24c"),
        Mark(band, "f", "#2fae5c", "bands", u=0.6, width=(0.86, 0.95), v=[-0.42, 0.10], soft=0.05),
        Mark(band, "f", "#2fae5c", "bands", u=0.5, width=(0.7, 0.8), v=[0.92, 1.4], soft=0.05),
        Mark(veins, "f", "#16130f", width=0.008),
        Mark(veins, "h", "#16301c", width=0.006),
        Mark(disc, "h", "#f0c93a", "patches", u=[0.15, 0.62], v=[0.1, 0.75]),
        Mark(spots, "h", "#14120f", "spots", u=0.76, r=(0.034, 0.044), first=1, last=6, skip=(0, 0.2)),
        Mark(margin, "fh", "#14120f", "margins", width=(0.035, 0.05), wave=0.3),
        Mark(costa, "f", "#14120f", width=0.026)]),
    Kind("common blue", ("#6a6f90", "#7d86ac", 0.048),
        Outline("30 -40  58 -64  81 -70  87 -50  81 -22  71 2  40 8  14 11  1 15"),
        Outline("30 -14  58 -8  72 12  71 36  56 57  36 65  15 54  4 28"), [
        Mark(ground, "fh", "#8c9bea", "ground", outer="#7282dc"),
        Mark(sheen, "fh", "#c6d2ff", u=0.5, width=0.35, strength=0.5),
        Mark(veins, "fh", "#5560b4", width=0.005, strength=0.7),
        Mark(margin, "fh", "#2c2838", "margins", width=(0.05, 0.085), v=[-0.3, 1.3]),
        Mark(margin, "fh", "#e6e4e6", width=0.022, v=[-0.1, 1.3], soft=0.008),
        Mark(spots, "h", "#ea8a34", "spots", u=0.83, r=(0.03, 0.038), shape="crescent", chance=0.7),
        Mark(spots, "h", "#221e2c", u=0.89, r=0.017, chance=0.8),
        Mark(dust, "fh", "#5a6ac8", reach=0.4, strength=0.6)], span=0.86),
    Kind("apollo", ("#4a4440", "#6a625a", 0.058),
        Outline("30 -36  62 -62  90 -70  98 -50  90 -20  76 3  40 9  14 11  1 15"),
        Outline("30 -14  58 -8  72 12  71 36  57 58  36 68  16 56  4 28"), [
        Mark(ground, "fh", "#f1eee0", "ground", outer="#e8e6dc"),
        Mark(margin, "f", "#a9aca6", "margins", width=(0.08, 0.12), wave=0.2, v=[-0.15, 0.95]),
        Mark(band, "f", "#a9aca6", u=0.78, width=0.035, v=[-0.4, 0.9]),
        Mark(dust, "fh", "#47423e", reach=(0.3, 0.42), strength=0.85),
        Mark(veins, "fh", "#8a8880", width=0.005, strength=0.8),
        Mark(patch, "f", "#191614", "spots", u=0.34, v=0.02, r=(0.045, 0.058), shape="block", stretch=0.8),
        Mark(patch, "f", "#191614", "spots", u=0.53, v=-0.04, r=(0.048, 0.06), shape="block", stretch=0.7),
        Mark(patch, "f", "#191614", "spots", u=0.70, v=-0.12, r=(0.035, 0.05), chance=0.8),
        Mark(patch, "f", "#191614", "spots", u=0.62, v=1.05, r=(0.04, 0.052)),
        Mark(patch, "h", "#1d1614", "eyespots", u=0.62, v=0.16, r=(0.085, 0.105), rings=APOLLO_EYE),
        Mark(patch, "h", "#1d1614", "eyespots", u=0.62, v=0.70, r=(0.085, 0.105), rings=APOLLO_EYE),
        Mark(edge, "fh", "#8f8c84", width=0.006)]),
    Kind("malachite", ("#2b2a20", "#4c4a34", 0.046),
        Outline("30 -36  62 -62  92 -70  92 -54  80 -28  78 -8  72 4  40 9  14 11  1 15", corner=7),
        Outline("30 -14  58 -8  72 12  70 36  58 58  38 70  16 58  4 28", scallop=0.05, tail="46 56  50 70  52 80", width=0.03), [
        Mark(ground, "fh", "#33261a", "ground", outer="#1e1611"),
        Mark(disc, "f", JADE, "patches", u=[0.10, 0.40], v=[0.0, 0.8]),
        Mark(cells, "f", JADE, "patches", u=[0.50, 0.70], gap=(0.06, 0.12), tilt=0.12),
        Mark(cells, "f", JADE, "patches", u=[0.76, 0.87], gap=(0.14, 0.2), tilt=0.04),
        Mark(band, "f", JADE, "patches", u=0.45, width=0.5, v=[1.15, 1.55], soft=0.04),
        Mark(cells, "h", JADE, "patches", u=[0.22, 0.68], gap=(0.03, 0.06), last=5),
        Mark(cells, "h", JADE, "patches", u=[0.77, 0.88], gap=(0.16, 0.22)),
        Mark(edge, "fh", "#1e1611", width=0.008)]),
    Kind("purple emperor", ("#2c2430", "#3a3040", 0.05),
        Outline("30 -38  62 -64  90 -70  92 -54  79 -28  77 -6  70 4  40 9  14 11  1 15", corner=7),
        Outline("30 -14  60 -8  74 12  71 38  58 58  40 72  17 58  4 28", scallop=0.03), [
        Mark(ground, "fh", "#5a2fae", "ground", outer="#4a2a8a"),
        Mark(sheen, "fh", "#9a6cf0", u=(0.45, 0.65), width=0.35, strength=0.5),
        Mark(margin, "fh", "#241a24", "margins", width=(0.08, 0.13), wave=0.15, v=[-0.2, 1.5]),
        Mark(veins, "fh", "#2c1a4c", width=0.007, strength=0.8),
        Mark(cells, "f", "#f8f5f0", "bands", u=[0.56, 0.66], gap=(0.05, 0.1), first=2, last=6, tilt=0.18),
        Mark(spots, "f", "#f8f5f0", "spots", u=0.72, r=(0.026, 0.036), first=-1, last=1, stretch=1.2),
        Mark(spots, "f", "#f8f5f0", "spots", u=0.87, r=0.018, first=-1, last=1, chance=0.7),
        Mark(streak, "h", "#f8f5f0", "bands", line=[0.66, -0.3, 0.55, 0.98], width=(0.085, 0.12), taper=0.6),
        Mark(patch, "h", "#e08a34", u=0.84, v=0.82, r=0.045, rings=[[0.6, "#1c1420", 0.0]]),
        Mark(edge, "fh", "#1c141c", width=0.007)]),
)
# fmt: on
SPECIES = tuple(kind.name for kind in KINDS)
