"""Suites of the shapes that schedulers find hard, the same for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Final

from benchmarks.scheduling.simulator import Suite
from pytest_perfcache.schedule.jobs import SESSION, Claim, Job, Setup

NOISE: Final = 0.30
"""Standard deviation of the logarithm of a duration against its estimate."""

Shape = Callable[[Random, int], list[Job]]


def log_normal(random: Random, workers: int) -> list[Job]:
    """Durations over three orders of magnitude, as most suites have them."""
    return [_job(index, random.lognormvariate(math.log(0.05), 1.5)) for index in range(60 * workers)]


def bimodal(random: Random, workers: int) -> list[Job]:
    """Many unit tests, and a tenth of them integration tests that take a hundred times as long."""
    slow = (random.random() < 0.1 for _ in range(50 * workers))
    return [
        _job(index, random.uniform(1.0, 3.0) if is_slow else random.uniform(0.005, 0.03))
        for index, is_slow in enumerate(slow)
    ]


def few_huge(random: Random, workers: int) -> list[Job]:
    """Four tests that together weigh as much as a third of the rest."""
    small = [random.lognormvariate(math.log(0.1), 1.0) for _ in range(40 * workers)]
    huge = [sum(small) / 12 * random.uniform(0.8, 1.2) for _ in range(4)]
    return [_job(index, seconds) for index, seconds in enumerate([*small, *huge])]


def resource_heavy(random: Random, workers: int) -> list[Job]:
    """A third of the tests need an exclusive, shared or counted resource, some need two."""
    jobs = []
    for index in range(50 * workers):
        claims: tuple[Claim, ...] = ()
        match random.randrange(12):
            case 0:
                claims = (Claim("db"),)
            case 1:
                claims = (Claim(f"port{random.randrange(max(1, workers // 2))}"),)
            case 2:
                claims = (Claim("gpu", amount=random.choice((1, 1, 2))),)
            case 3 if random.random() < 0.3:
                claims = (Claim("files"), Claim("port0"))
            case 3:
                claims = (Claim("files", shared=True),)
        jobs.append(_job(index, random.lognormvariate(math.log(0.1), 1.0), claims=claims))
    return jobs


def modules(random: Random, workers: int) -> list[Job]:
    """Modules whose shared fixture costs as much as some of their tests."""
    jobs: list[Job] = []
    for module in range(6 * workers):
        scope = f"test_{module}.py"
        setup = (Setup(scope, random.choice((0.0, 0.05, 0.5))),)
        for _ in range(random.randrange(3, 15)):
            seconds = random.lognormvariate(math.log(0.1), 1.0)
            jobs.append(_job(len(jobs), seconds, scopes=(SESSION, scope), setups=setup, file=scope))
    return jobs


def equal(random: Random, workers: int) -> list[Job]:
    """Tests that nothing is known about: all estimates are the same."""
    return [_job(index, 0.1) for index in range(random.randrange(38, 42) * workers)]


SHAPES: Final[Mapping[str, Shape]] = {
    "log-normal": log_normal,
    "bimodal": bimodal,
    "few huge": few_huge,
    "resource-heavy": resource_heavy,
    "modules": modules,
    "equal": equal,
}


def make(shape: str, workers: int, seed: int, noise: float = NOISE) -> Suite:
    """A suite of a shape: estimates, and true durations off by the noise."""
    random = Random(f"{shape} {workers} {seed}")
    jobs = SHAPES[shape](random, workers)
    random.shuffle(jobs)
    return Suite(tuple(jobs), truth(jobs, random, noise), {"gpu": 2})


def truth(jobs: Iterable[Job], random: Random, noise: float = NOISE) -> dict[str, float]:
    """True durations in seconds: the estimates times log-normal noise."""
    return {job.key: job.seconds * random.lognormvariate(0.0, noise) for job in jobs}


def _job(
    index: int,
    seconds: float,
    *,
    claims: tuple[Claim, ...] = (),
    scopes: tuple[str, ...] = (SESSION,),
    setups: tuple[Setup, ...] = (),
    file: str = "",
) -> Job:
    return Job(f"t{index}", seconds, file=file, scopes=scopes, claims=claims, setups=setups)
