"""Resources and cores between pytest runs on one host, by file locks the kernel releases itself."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_perfcache.errors import PerfcacheError
from pytest_perfcache.schedule.resources import DEFAULT_CAPACITY, Use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SHORTEST_PAUSE: Final = 0.005
LONGEST_PAUSE: Final = 0.2

Held = dict[str, list[int]]
"""Open file descriptors by resource; each holds one unit of it."""


class LockError(PerfcacheError):
    """The directory of the locks can not be used."""


def default_directory() -> Path:
    """One directory for all runs of a user on this host; raises LockError where it is somebody else's."""
    path = Path(tempfile.gettempdir(), f"pytest-perfcache-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise LockError(str(error)) from error
    if status.st_uid != os.getuid() or not path.is_dir() or path.is_symlink():
        raise LockError(f"{path} is not a directory of this user")
    return path


class FileLocks:
    """Locks below one directory; each unit of a capacity is a file.

    A whole resource locks all its files, a reader locks them shared, a counted part locks as many as it
    needs. All that is asked for at once is taken together or not at all. Who waits keeps the turn of each
    resource it waits for, so that others who come later can not keep it waiting forever.
    """

    def __init__(self, directory: Path, capacities: Mapping[str, int] | None = None) -> None:
        self._directory: Final = directory
        self._capacities: Final = dict(capacities or {})

    def try_take(self, uses: Mapping[str, Use]) -> Held | None:
        """All uses, or None when one of them is held, or waited for, elsewhere; raises OSError."""
        return self.take(uses, give_up=lambda: True)

    def take(
        self,
        uses: Mapping[str, Use],
        *,
        give_up: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Held | None:
        """Wait for all uses; None once one is to give up. Raises OSError where locks are not to be had."""
        turns: list[int] | None = None
        pause = SHORTEST_PAUSE
        try:
            while True:
                turns = self._turns(uses) if turns is None else turns
                found = None if turns is None else self._units(uses)
                if found is not None or give_up():
                    return found
                sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            release(turns or ())

    def shrink(self, files: Sequence[int], use: Use) -> list[int]:
        """Keep only what the smaller use needs of what is held."""
        kept = list(files if use.reads or use.whole else files[: use.amount])
        release(file for file in files if file not in kept)
        if use.reads and not use.whole:
            for file in kept:
                fcntl.flock(file, fcntl.LOCK_SH)
        return kept

    def _turns(self, resources: Iterable[str]) -> list[int] | None:
        return _all_or_none(self._path(name, "turn") for name in sorted(resources))

    def _units(self, uses: Mapping[str, Use]) -> Held | None:
        held: Held = {}
        for resource, use in sorted(uses.items()):
            found = self._units_of(resource, use)
            if found is None:
                release(file for files in held.values() for file in files)
                return None
            held[resource] = found
        return held

    def _units_of(self, resource: str, use: Use) -> list[int] | None:
        capacity = self._capacities.get(resource, DEFAULT_CAPACITY)
        paths = [self._path(resource, str(unit)) for unit in range(capacity)]
        if use.whole:
            return _all_or_none(paths)
        if use.reads:
            return _all_or_none(paths, fcntl.LOCK_SH)
        files = _as_many(paths, wanted := min(use.amount, capacity))
        if len(files) == wanted:
            return files
        release(files)
        return None

    def _path(self, resource: str, part: str) -> Path:
        """A file of a resource, whose name may hold what a file name may not."""
        return self._directory / f"{hashlib.blake2b(resource.encode(), digest_size=8).hexdigest()}.{part}"


def take_slots(directory: Path, slots: int, wanted: int) -> list[int]:
    """Take up to `wanted` of the host's `slots`, one for each core, as open file descriptors; raises OSError."""
    return _as_many([directory / f"core.{slot}" for slot in range(slots)], wanted)


def release(files: Iterable[int]) -> None:
    """Give up locks, of forked children that got hold of the descriptors too."""
    for file in files:
        with suppress(OSError):  # closing below does it as well
            fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _as_many(paths: Iterable[Path], wanted: int) -> list[int]:
    files: list[int] = []
    for path in paths:
        if len(files) == wanted:
            break
        if (file := _try_lock(path, fcntl.LOCK_EX)) is not None:
            files.append(file)
    return files


def _all_or_none(paths: Iterable[Path], mode: int = fcntl.LOCK_EX) -> list[int] | None:
    files: list[int] = []
    for path in paths:
        file = _try_lock(path, mode)
        if file is None:
            release(files)
            return None
        files.append(file)
    return files


def _try_lock(path: Path, mode: int) -> int | None:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:  # held elsewhere
        os.close(file)
        return None
    except BaseException:
        os.close(file)
        raise
    return file
