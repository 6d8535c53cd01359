"""The cores of this host between runs of pytest: each run holds a slot for every core that its workers keep busy.

Load alone does not tell: it is a mean over the last minute, so two runs that start together would each take all cores.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from pytest_perfcache.run.config import settings_of
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.locking import lock_directory
from pytest_perfcache.schedule.locks import FileLocks, release, take_slots
from pytest_perfcache.schedule.resources import Use
from pytest_perfcache.schedule.workers import LEAST_COMPUTING, Machine, WorkerPlan

_CHOOSING: Final = {"choosing how many cores to use": Use(whole=True)}
_PATIENCE: Final = 1.0
"""Seconds that another run may take to choose."""


def share_cores(
    config: pytest.Config, machine: Machine, computing: float, plan: Callable[[Machine], WorkerPlan]
) -> WorkerPlan:
    """Plan with the cores that no other run has taken, and keep those that the workers need until the run ends."""
    found: list[WorkerPlan] = []
    with harmless("does not share the cores of this host with other runs"):
        directory = lock_directory(settings_of(config))
        locks, deadline = FileLocks(directory), time.monotonic() + _PATIENCE
        turn = locks.take(_CHOOSING, give_up=lambda: time.monotonic() > deadline) or {}
        total = math.ceil(machine.cores)
        slots = take_slots(directory, total, total)
        config.add_cleanup(lambda: release(slots))
        found.append(plan(replace(machine, busy=max(machine.busy, machine.cores - len(slots)))))
        needed = max(1, math.ceil(found[0].workers * max(computing, LEAST_COMPUTING)))
        release(slots[needed:])
        del slots[needed:]
        release(file for files in turn.values() for file in files)
    return found[0] if found else plan(machine)
