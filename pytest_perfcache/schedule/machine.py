"""Reads what the host has to give: cores, limits of the control group, load, free memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pytest_perfcache.schedule.workers import Machine

CGROUP: Final = Path("/sys/fs/cgroup")


def read_machine(cgroup: Path = CGROUP) -> Machine:
    """The host as this process may use it; what cannot be read limits nothing."""
    import psutil

    free = psutil.virtual_memory().available
    group_free = read_free_memory(cgroup)
    return Machine(read_cores(cgroup), _load(), free if group_free is None else min(free, group_free))


def read_cores(cgroup: Path = CGROUP) -> float:
    """The cores that this process may keep busy."""
    quota = read_quota(cgroup)
    return float(_affinity()) if quota is None else min(float(_affinity()), quota)


def read_quota(cgroup: Path = CGROUP) -> float | None:
    """Cores that the control group may use, of version 2 or 1; None without a limit."""
    words = _read(cgroup / "cpu.max").split()
    if not words:
        words = [_read(cgroup / "cpu" / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def read_free_memory(cgroup: Path = CGROUP) -> int | None:
    """Bytes left to the control group; None without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        words = _read(cgroup / limit).strip(), _read(cgroup / used).strip()
        if all(word.isdecimal() for word in words):
            return max(0, int(words[0]) - int(words[1]))
    return None


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on every platform
        return 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another version of control groups, or none
        return ""
