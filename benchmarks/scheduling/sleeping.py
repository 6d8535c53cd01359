"""Suites of sleeping tests, which take no processor time: any machine can run many workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from random import Random

SECONDS: Final = 5.0
"""What each worker sleeps where the tests are spread evenly: short for a suite that is run with workers, and several
times their start-up, which is none of the schedulers' doing."""


class Sleep(NamedTuple):
    """One test: how long it sleeps, and the resource that no other test may use meanwhile."""

    seconds: float
    resource: str = ""


Modules = Sequence[Sequence[Sleep]]


def log_normal(random: Random, workers: int) -> Modules:
    """Durations over two orders of magnitude."""
    return in_files(scaled(_log_normal(random, 30 * workers), workers), 10)


def few_huge(random: Random, workers: int) -> Modules:
    """One or two tests nearly as long as the run has to be, some long ones, and many short ones."""
    huge = [0.85 * SECONDS] * max(1, workers // 3)
    large = [0.25 * SECONDS] * (workers + 1)
    left = workers * SECONDS - sum(huge) - sum(large)
    small = [0.03 * SECONDS] * round(left / (0.03 * SECONDS))
    seconds = [*huge, *large, *small]
    random.shuffle(seconds)
    return in_files([Sleep(each) for each in seconds], 6)


def slow_last(random: Random, workers: int) -> Modules:
    """Many fast tests, and the slow ones in the last file."""
    fast = [Sleep(random.uniform(0.005, 0.03)) for _ in range(75 * workers)]
    slow = [Sleep(random.uniform(0.5, 1.0)) for _ in range(workers + workers // 2)]
    tests = scaled([*fast, *slow], workers)
    return [*in_files(tests[: len(fast)], 25), tests[len(fast) :]]


def resource_heavy(random: Random, workers: int) -> Modules:
    """Durations as in the log-normal suite, where two chains of tests each fill two thirds of the run."""
    tests = scaled(_log_normal(random, 30 * workers), workers)
    chained = dict.fromkeys(("db", "port"), 0.0)
    claimed = []
    for at, test in enumerate(tests):
        name = ("db", "port")[at % 2]
        fits = chained[name] + test.seconds <= 0.7 * SECONDS
        chained[name] += test.seconds if fits else 0.0
        claimed.append(test._replace(resource=name if fits else ""))
    random.shuffle(claimed)
    return in_files(claimed, 10)


SHAPES: Final[dict[str, Callable[[Random, int], Modules]]] = {
    "log-normal": log_normal,
    "few huge": few_huge,
    "resource-heavy": resource_heavy,
    "slow tests last": slow_last,
}


def lower_bound(modules: Modules, workers: int) -> float:
    """Seconds that no schedule can beat: sum over workers, longest test, heaviest chain."""
    tests = [test for module in modules for test in module]
    chains = [
        sum(test.seconds for test in tests if test.resource == name)
        for name in {test.resource for test in tests} - {""}
    ]
    return max(sum(test.seconds for test in tests) / workers, *(test.seconds for test in tests), *chains)


def scaled(tests: Sequence[Sleep], workers: int) -> list[Sleep]:
    """The same suite, as long as that many workers need for it in the time that is meant."""
    factor = workers * SECONDS / sum(test.seconds for test in tests)
    return [test._replace(seconds=round(factor * test.seconds, 4)) for test in tests]


def in_files(tests: Sequence[Sleep], size: int) -> list[tuple[Sleep, ...]]:
    """In files of so many tests."""
    return [tuple(tests[start : start + size]) for start in range(0, len(tests), size)]


def _log_normal(random: Random, count: int) -> list[Sleep]:
    return [Sleep(min(1.5, random.lognormvariate(-3.0, 1.3))) for _ in range(count)]
