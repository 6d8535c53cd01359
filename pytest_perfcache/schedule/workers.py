"""How many workers pay off; zero, which is a run in one process, is an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_perfcache.schedule.bounds import Load

WORTH: Final = 0.97
"""Workers must bring the run below this share of its time in one process."""

NEAR: Final = 1.03
"""A smaller number of workers within this factor of the best is preferred."""

LEAST_COMPUTING: Final = 0.05
"""The share of a core that a worker takes at least."""

SPARE_MEMORY: Final = 0.2
"""The share of free memory that workers leave alone."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the host has to give: cores (a cgroup quota may be a fraction), their load, free bytes."""

    cores: float
    busy: float = 0.0
    free_memory: int | None = None

    @property
    def free_cores(self) -> float:
        """Cores that nobody uses; always at least one, which this process has anyway."""
        return max(1.0, self.cores - self.busy)


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured in earlier runs: seconds, bytes, and the share of a test that is computation.

    `start_up` is the processor time until a worker is ready to collect; `collect` that of a collection,
    which every worker repeats; `serial_collect` that of a run in one process; `overhead` is spent for each
    test on messages.
    """

    start_up: float = 0.6
    collect: float = 0.3
    serial_collect: float = 0.3
    overhead: float = 0.001
    memory: int = 60_000_000
    computing: float = 1.0


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """The number of workers, the expected seconds with them and without any, and why not more."""

    workers: int
    seconds: float
    serial_seconds: float
    reason: str


def plan_workers(
    load: Load, tests: int, machine: Machine, costs: Costs | None = None, *, most: int | None = None
) -> WorkerPlan:
    """The least number of workers near the best expected time; `most` is the `-n` of the user."""
    costs = costs or Costs()
    serial = costs.serial_collect + load.serial
    if tests == 0:
        return WorkerPlan(0, costs.serial_collect, costs.serial_collect, "nothing runs")
    limit, reason = _limit(tests, machine, costs, most)
    expected = {count: _seconds(load, tests, count, machine, costs) for count in range(1, limit + 1)}
    if not expected or min(expected.values()) >= WORTH * serial:
        return WorkerPlan(0, serial, serial, "starting workers costs more than they save")
    best = min(expected.values())
    count = min(count for count, seconds in expected.items() if seconds <= NEAR * best)
    if count < limit:
        reason = "one more would save less than it costs"
    return WorkerPlan(count, expected[count], serial, reason)


def _limit(tests: int, machine: Machine, costs: Costs, most: int | None) -> tuple[int, str]:
    limits = [(tests, "one test each")]
    useful = machine.free_cores / max(costs.computing, LEAST_COMPUTING)
    limits.append((max(1, math.ceil(useful)), "the free cores are used"))
    if machine.free_memory is not None:
        fitting = int(machine.free_memory * (1 - SPARE_MEMORY)) // max(costs.memory, 1)
        limits.append((fitting, "free memory"))
    if most is not None:
        limits.append((most, "the number asked for"))
    return min(limits)


def _seconds(load: Load, tests: int, workers: int, machine: Machine, costs: Costs) -> float:
    """Expected seconds of a run with so many workers, from their start."""
    crowding = max(1.0, workers / machine.free_cores)
    start = (costs.start_up + costs.collect) * crowding
    cores = machine.free_cores / max(costs.computing, LEAST_COMPUTING)
    parallel = min(float(workers), max(1.0, cores))
    return start + load.makespan(parallel) + costs.overhead * tests / parallel
