"""Frechet distance between two sets of pictures, with features that need no download.

Features: fixed random 5x5 convolutions with ReLU at three scales, averaged over a 2x2 grid (random networks are usable
Frechet features: arXiv 1801.03924 and 2203.06026 discuss what features see; here they serve comparisons within one run,
always beside the real-against-real floor of equally many pictures).
"""

import numpy as np
import torch
import torch.nn.functional as F

FILTERS, SCALES, CELLS = 32, 3, 2


@torch.no_grad()
def features(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N, S, S, 3] -> float64 [N, FILTERS * SCALES * CELLS^2]."""
    draw = torch.Generator().manual_seed(20)
    filters = [torch.randn(FILTERS, 3, 5, 5, generator=draw) / 75**0.5 for _ in range(SCALES)]
    parts = []
    for chunk in torch.from_numpy(pictures).split(64):
        x, columns = chunk.permute(0, 3, 1, 2).float() / 127.5 - 1, []
        for weight in filters:
            columns.append(F.adaptive_avg_pool2d(F.relu(F.conv2d(x, weight, padding=2)), CELLS).flatten(1))
            x = F.avg_pool2d(x, 2)
        parts.append(torch.cat(columns, 1))
    return torch.cat(parts).double().numpy()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two feature sets [N, D] (arXiv 1706.08500)."""
    mean = ((a.mean(0) - b.mean(0)) ** 2).sum()
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(ca)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cb @ root).clip(0)).sum()
    return float(mean + np.trace(ca) + np.trace(cb) - 2 * cross)
