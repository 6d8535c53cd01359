"""Expected durations, in seconds: what was measured before, and medians of relatives for the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHORTEST: Final = 1e-5
"""Seconds below which a clock tells nothing."""

UNKNOWN_SECONDS: Final = 0.05
"""The expected duration when nothing at all was measured."""

NEWEST_SHARE: Final = 0.3
"""The weight of the newest measurement in the moving average."""

FASTEST_FACTOR: Final = 0.1
SLOWEST_FACTOR: Final = 10.0


def learn(known: float | None, measured: float) -> float:
    """The new expectation in seconds: an exponentially weighted mean of the logarithm of durations.

    Give it whole protocols of clean passes only: an aborted or failed test says nothing of its duration.
    """
    newest = math.log(max(measured, SHORTEST))
    if known is None:
        return math.exp(newest)
    older = math.log(max(known, SHORTEST))
    return math.exp(older + NEWEST_SHARE * (newest - older))


def family(nodeid: str) -> str:
    """The node id without its parameters."""
    return nodeid.split("[", 1)[0]


def file_of(nodeid: str) -> str:
    """The file of a node id."""
    return nodeid.split("::", 1)[0]


class Estimates:
    """Expected seconds of any test, from the expectations learnt so far by node id."""

    def __init__(self, learnt: Mapping[str, float]) -> None:
        from statistics import median

        self._learnt: Final = learnt
        families: defaultdict[str, list[float]] = defaultdict(list)
        files: defaultdict[str, list[float]] = defaultdict(list)
        for nodeid, seconds in learnt.items():
            families[family(nodeid)].append(seconds)
            files[file_of(nodeid)].append(seconds)
        self._families: Final = {name: median(group) for name, group in families.items()}
        self._files: Final = {name: median(group) for name, group in files.items()}
        self._all: Final = median(learnt.values()) if learnt else UNKNOWN_SECONDS

    def __contains__(self, nodeid: object) -> bool:
        return nodeid in self._learnt

    def seconds(self, nodeid: str) -> float:
        """What was learnt; else the median of the parametrised family, of the file, of all."""
        if (known := self._learnt.get(nodeid)) is not None:
            return known
        if (known := self._families.get(family(nodeid))) is not None:
            return known
        return self._files.get(file_of(nodeid), self._all)


class Speed(NamedTuple):
    """How much longer tests take in this run than expected, from the sums of both seconds.

    A median of ratios would follow the shortest tests, whose durations are mostly overhead.
    """

    expected: float = 0.0
    measured: float = 0.0

    def observe(self, expected: float, measured: float) -> Speed:
        """Count one clean pass."""
        return Speed(self.expected + expected, self.measured + measured)

    @property
    def factor(self) -> float:
        """Measured over expected, 1.0 as long as nothing is known; within 0.1 and 10."""
        if self.expected <= 0.0 or self.measured <= 0.0:
            return 1.0
        return min(max(self.measured / self.expected, FASTEST_FACTOR), SLOWEST_FACTOR)


def speed_of(pairs: Iterable[tuple[float, float]]) -> Speed:
    """The speed from (expected, measured) seconds of many tests."""
    speed = Speed()
    for expected, measured in pairs:
        speed = speed.observe(expected, measured)
    return speed
