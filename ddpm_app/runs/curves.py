"""The curves of a run of any length in bounded memory, read on as its metrics grow."""

import itertools
import math
from collections.abc import Callable

from ddpm_app.runs.records import CurvePoints, MetricRow, Points
from ddpm_app.runs.run import Run

READ_SECONDS = 0.3
"""Time for metrics per look: a run of a million steps is drawn as it is read, over some seconds."""
CHUNK_BYTES = 1 << 18
BUCKETS = 512
SMOOTHING_ROWS = 20
RAW_POINTS, LINE_POINTS, RATE_POINTS, VALIDATION_POINTS = 140, 80, 28, 32


class Curve:
    """A series of any length in bounded memory: at most ``BUCKETS`` buckets, merged in pairs when they run out."""

    def __init__(self) -> None:
        # each bucket: rows, step of low, low, step of high, high, sum of steps, sum of values
        self._buckets: list[list[float]] = []
        self._rows_per_bucket = 1

    def add(self, step: int, value: float | None) -> None:
        """Take one point; what is not a finite number is left out."""
        if value is None or not math.isfinite(value):
            return
        bucket = self._buckets[-1] if self._buckets else None
        if bucket and bucket[0] < self._rows_per_bucket:  # in place: a run of a million steps comes through here
            if value < bucket[2]:
                bucket[1:3] = step, value
            elif value > bucket[4]:
                bucket[3:5] = step, value
            bucket[0] += 1
            bucket[5] += step
            bucket[6] += value
            return
        if len(self._buckets) == BUCKETS:
            self._buckets = [_merge(a, b) for a, b in zip(self._buckets[::2], self._buckets[1::2], strict=True)]
            self._rows_per_bucket *= 2
        self._buckets.append([1, step, value, step, value, step, value])

    def means(self, points: int) -> Points:
        """Steps and mean values, at most ``points`` of them, and the last bucket always."""
        groups = self._groups(points)
        return [round(g[5] / g[0]) for g in groups], [short(g[6] / g[0]) for g in groups]

    def extremes(self, points: int) -> Points:
        """Steps and values, at most ``points``, which keep the lowest and highest of each stretch: no spike is lost."""
        if len(self._buckets) <= points and self._rows_per_bucket == 1:
            return self.means(points)
        pairs = [sorted({(g[1], short(g[2])), (g[3], short(g[4]))}) for g in self._groups(points // 2)]
        flat = list(itertools.chain(*pairs))
        return [step for step, _ in flat], [value for _, value in flat]

    def _groups(self, points: int) -> list[list[float]]:
        width = max(1, math.ceil(len(self._buckets) / points))
        groups = []
        for k in range(0, len(self._buckets), width):
            group = self._buckets[k]
            for bucket in self._buckets[k + 1 : k + width]:
                group = _merge(group, bucket)
            groups.append(group)
        return groups


def _merge(a: list[float], b: list[float]) -> list[float]:
    low, high = (a if a[2] <= b[2] else b), (a if a[4] >= b[4] else b)
    return [a[0] + b[0], low[1], low[2], high[3], high[4], a[5] + b[5], a[6] + b[6]]


def short(value: float) -> float:
    """Four significant digits: what a plot can show, in few bytes."""
    return float(f"{value:.4g}")


class MetricCurves:
    """The metrics of one run, read on from where the last look ended."""

    def __init__(self, run: Run, created: float = 0.0):
        self.run, self.created = run, created
        self._reset(-1)

    def _reset(self, generation: int) -> None:
        self.offset, self.generation = 0, generation
        self.raw, self.smooth, self.rate, self.train, self.held_out = (Curve() for _ in range(5))
        self.bands: list[tuple[int, list[float]]] = []  # the first measured after step 0, and the last
        self.seconds, self._clock, self._average, self._rows = 0.0, 0.0, 0.0, 0

    def read(self, clock: Callable[[], float], seconds: float = READ_SECONDS) -> None:
        """Take in new rows for about ``seconds``."""
        end = clock() + seconds
        while True:
            rows, offset, generation = self.run.read_metrics(self.offset, self.generation, CHUNK_BYTES)
            if generation != self.generation:
                self._reset(generation)
            self.offset = offset
            for row in rows:
                self._take(row)
            if not rows or clock() >= end:
                return

    def _take(self, row: MetricRow) -> None:
        step, kind = row["step"], row.get("kind")
        if kind == "step":
            self.raw.add(step, row["loss"])
            self.rate.add(step, row["lr"])
            self.smooth.add(step, self._smoothed(row["loss"]))
            spent = row.get("seconds", 0.0)  # counts from the start or the last resume
            self.seconds += spent - self._clock if spent >= self._clock else spent
            self._clock = spent
        elif kind == "validation":
            self.train.add(step, row["train_loss"])
            self.held_out.add(step, row["held_out_loss"])
            if row.get("bands"):
                self.bands = [*[b for b in self.bands[:1] if b[0]], (step, row["bands"])]

    def _smoothed(self, loss: float) -> float:
        """An exponential average over ``SMOOTHING_ROWS`` rows, over fewer at the start, where the loss falls fast."""
        if math.isfinite(loss):
            self._average += (loss - self._average) / min(SMOOTHING_ROWS, 1 + self._rows / 8)
            self._rows += 1
        return self._average

    def series(self) -> CurvePoints:
        """What the plots show, at most 400 points in all: pairs of lists (steps, values), and the loss by timestep band."""
        bands = [(step, [short(v) for v in values]) for step, values in self.bands]
        return {
            "raw": self.raw.extremes(RAW_POINTS),
            "smooth": self.smooth.means(LINE_POINTS),
            "rate": self.rate.means(RATE_POINTS),
            "train": self.train.means(VALIDATION_POINTS),
            "held_out": self.held_out.means(VALIDATION_POINTS),
            "bands": bands,
            "seconds": round(self.seconds),
        }
