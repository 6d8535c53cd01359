"""Resources and worker slots between pytest runs on one host, by file locks the kernel releases itself."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pytest_perfcache.errors import PerfcacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_perfcache.schedule.jobs import Claim

SHORTEST_PAUSE: Final = 0.005
LONGEST_PAUSE: Final = 0.2


class LockTimeoutError(PerfcacheError):
    """Another run held a resource for longer than one is ready to wait."""


class FileLocks:
    """Locks below one directory; each unit of a capacity is a file.

    A whole resource locks all its files, a reader locks them shared, a counted part locks as many as it
    needs. Claims are taken together or not at all, so that two runs cannot wait for each other.
    """

    def __init__(self, directory: Path, capacities: Mapping[str, int] | None = None) -> None:
        self._directory: Final = directory
        self._capacities: Final = dict(capacities or {})

    @contextmanager
    def held(
        self,
        claims: Sequence[Claim],
        *,
        timeout: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Iterator[None]:
        """Hold the claims; waits up to `timeout` seconds for other runs, then raises LockTimeoutError."""
        deadline = clock() + timeout
        pause = SHORTEST_PAUSE
        while (files := self.try_all(claims)) is None:
            if clock() >= deadline:
                names = ", ".join(sorted({claim.resource for claim in claims}))
                raise LockTimeoutError(f"another run on this host holds one of: {names}")
            sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        try:
            yield
        finally:
            close_all(files)

    def try_all(self, claims: Sequence[Claim]) -> list[int] | None:
        """Open file descriptors that hold all claims, or None when one of them is held elsewhere."""
        files: list[int] = []
        for resource, (needed, mode) in sorted(self._needs(claims).items()):
            got = 0
            for path in self._paths(resource):
                if got < needed and (file := _try_lock(path, mode)) is not None:
                    files.append(file)
                    got += 1
            if got < needed:
                close_all(files)
                return None
        return files

    def _needs(self, claims: Sequence[Claim]) -> dict[str, tuple[int, int]]:
        """Files and mode of lock by resource; several claims of one resource are joined."""
        needs: dict[str, tuple[int, int]] = {}
        for name in {claim.resource for claim in claims}:
            own = [claim for claim in claims if claim.resource == name]
            capacity = self._capacities.get(name, 1)
            amount = sum(claim.amount or 0 for claim in own)
            if all(claim.shared for claim in own):
                needs[name] = capacity, fcntl.LOCK_SH
            elif any(claim.shared or claim.amount is None for claim in own):
                needs[name] = capacity, fcntl.LOCK_EX
            else:
                needs[name] = min(amount, capacity), fcntl.LOCK_EX
        return needs

    def _paths(self, resource: str) -> list[Path]:
        """The files of a resource, whose name may hold what a file name may not."""
        self._directory.mkdir(parents=True, exist_ok=True)
        stem = hashlib.blake2b(resource.encode(), digest_size=8).hexdigest()
        return [self._directory / f"{stem}.{unit}" for unit in range(self._capacities.get(resource, 1))]


def take_slots(directory: Path, slots: int, wanted: int) -> list[int]:
    """Take up to `wanted` of the host's `slots` for workers, as open file descriptors."""
    directory.mkdir(parents=True, exist_ok=True)
    files: list[int] = []
    for slot in range(slots):
        if len(files) == wanted:
            break
        if (file := _try_lock(directory / f"slot.{slot}", fcntl.LOCK_EX)) is not None:
            files.append(file)
    return files


def close_all(files: Sequence[int]) -> None:
    """Close descriptors, and with them release their locks."""
    for file in files:
        os.close(file)


def _try_lock(path: Path, mode: int) -> int | None:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:  # held elsewhere
        os.close(file)
        return None
    return file
