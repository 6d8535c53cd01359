"""The stat cache: a file that was not touched is neither read nor parsed again.

As in git's index, an entry is *racy* while its file is so young that a later write could leave the same time stamp;
racy entries are read again until they are old enough.
"""

from __future__ import annotations

import os
import struct
import time
from stat import S_ISREG
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_perfcache.facts.digest import ABSENT, fingerprint
from pytest_perfcache.model import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RACY_NS: Final = 2_000_000_000
"""Two seconds: the coarsest time stamps among common file systems."""

_ENTRY: Final = struct.Struct("<QQQQ16s")
_MAGIC: Final = b"stat1\n"
_open: Final = open  # tests put another one into `builtins`
stat: Final = os.stat  # observers put another one into `os`


def read_bytes(path: str) -> bytes:
    """The content of a file; OSError where it can not be read."""
    with _open(path, "rb") as file:
        return file.read()


def write_bytes(path: str, data: bytes) -> None:
    """Write a file at once or not at all, whoever else writes it; OSError where that can not be done."""
    draft = f"{path}.{os.getpid()}"
    with _open(draft, "wb") as file:
        file.write(data)
    os.replace(draft, path)


class Signature(NamedTuple):
    """What tells an untouched file: size in bytes, modification and change time in nanoseconds, inode."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: str | Path) -> Signature | None:
        """The file's signature now; None where there is no regular file."""
        try:
            found = stat(path)
        except (OSError, ValueError):
            return None
        if not S_ISREG(found.st_mode):
            return None
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def racy(self, now_ns: int) -> bool:
        return max(self.mtime_ns, self.ctime_ns) + RACY_NS > now_ns


class StatCache:
    """Content fingerprints of files under ``root`` (or absolute), remembered by signature.

    Looks at each file once; :meth:`forget` makes it look again.
    """

    def __init__(self, root: Path | str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._root = root
        self._clock_ns = clock_ns
        self._known: dict[str, tuple[Signature, Fingerprint]] = {}
        self._seen: dict[str, Fingerprint] = {}
        self.reads = 0
        self.changed = False

    def content(self, path: str) -> Fingerprint:
        """The fingerprint of the file's content now, ``ABSENT`` where there is none."""
        found = self._seen.get(path)
        if found is None:
            found = self._seen[path] = self._look(path)
        return found

    def forget(self) -> None:
        self._seen.clear()

    def learn(self, path: str, signature: Signature, content: Fingerprint) -> None:
        """Take over what somebody read already."""
        if not signature.racy(self._clock_ns()):
            self._known[path] = (signature, content)
            self.changed = True

    def _look(self, path: str) -> Fingerprint:
        full = os.path.join(self._root, path)
        signature = Signature.of(full)
        if signature is None:
            return ABSENT
        known = self._known.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        try:
            content = fingerprint(read_bytes(full))
        except OSError:
            return ABSENT
        self.reads += 1
        if Signature.of(full) == signature:
            self.learn(path, signature, content)
        return content

    def dump(self) -> bytes:
        paths = sorted(self._known)
        rows = b"".join(_ENTRY.pack(*self._known[path][0], self._known[path][1]) for path in paths)
        names = "\0".join(paths).encode("utf-8", "surrogateescape")
        return _MAGIC + len(rows).to_bytes(8, "little") + rows + names

    def load(self, data: bytes | None) -> None:
        """Take over a dump; anything that is not one is as good as empty."""
        if data is None or not data.startswith(_MAGIC):
            return
        self._known.update(_entries(data))


def _entries(data: bytes) -> Iterator[tuple[str, tuple[Signature, Fingerprint]]]:
    start = len(_MAGIC) + 8
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    if (end - start) % _ENTRY.size or end > len(data):
        return
    paths = data[end:].decode("utf-8", "surrogateescape").split("\0")
    for path, row in zip(paths, _ENTRY.iter_unpack(data[start:end]), strict=False):
        size, mtime_ns, ctime_ns, inode, content = row
        yield path, (Signature(size, mtime_ns, ctime_ns, inode), content)
