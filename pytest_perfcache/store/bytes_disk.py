"""How diskcache's rows become bytes, and nothing else."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from diskcache.core import MODE_BINARY, MODE_RAW, UNKNOWN, Disk

from pytest_perfcache.errors import StoreError

_FILENAME: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")
_DRAWS: Final = 10


class ForeignRowError(StoreError):
    """A row, key or value that is not of the kind written here."""


class BytesDisk(Disk):  # type: ignore[misc]  # diskcache has no types
    """Take text keys and bytes values only.

    diskcache believes what a row says of itself: a row in pickle mode runs code when it is read
    (CVE-2025-69872), and an absolute file name is read, or deleted on eviction. Every row that is not written
    here is refused.
    """

    def __init__(self, directory: str, min_file_size: int = 0, pickle_protocol: int = 0, **_planted: object) -> None:
        """Take what diskcache hands over; other `disk_*` rows of its settings table are dropped."""
        super().__init__(directory, min_file_size=min_file_size, pickle_protocol=pickle_protocol)

    def put(self, key: object) -> tuple[str, bool]:
        """Return the columns key and raw for `key`."""
        if type(key) is not str:
            raise ForeignRowError(f"a key is text, not {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Return the key that is stored in the columns key and raw."""
        if raw != 1 or type(key) is not str:
            raise ForeignRowError("a key is text")
        return key

    def store(self, value: object, read: bool, key: object = UNKNOWN) -> tuple[int, int, str | None, bytes | None]:
        """Return the columns size (in bytes), mode, filename and value; write a large value to a file."""
        if read or type(value) is not bytes:
            raise ForeignRowError(f"a value is bytes, not {type(value).__name__}")
        if len(value) < self.min_file_size:
            return len(value), MODE_RAW, None, value
        filename, path = self._new_file(key, value)
        self._write(str(path), iter((value,)), "xb")
        return len(value), MODE_BINARY, filename, None

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> bytes:
        """Return the value that is stored in the columns; OSError when its file is gone."""
        if read:
            raise ForeignRowError("values are not read as streams")
        if mode == MODE_RAW and filename is None and type(value) is bytes:
            return value
        if mode == MODE_BINARY and value is None:
            return _read_regular(self._own_path(filename))
        raise ForeignRowError("a value is bytes")

    def remove(self, file_path: object) -> None:
        """Remove a file of this store.

        Another name is passed over in silence: its row is gone already, and other files wait to be removed.
        """
        try:
            path = self._own_path(file_path)
        except ForeignRowError:
            return
        super().remove(str(path))

    def _new_file(self, key: object, value: bytes) -> tuple[str, Path]:
        """Draw the name of a new file; return it and its path. A name that a link leads out of is drawn again."""
        for _ in range(_DRAWS):
            filename, _full_path = self.filename(key, value)
            with suppress(ForeignRowError):
                return filename, self._own_path(filename)
        raise ForeignRowError(f"links lead out of the store at all of {_DRAWS} places")

    def _own_path(self, filename: object) -> Path:
        """Return the path of one of this store's files, which no link leads out of its directory."""
        if type(filename) is not str or not _FILENAME.fullmatch(filename):
            raise ForeignRowError("a file's name is not one that is given here")
        path = Path(self._directory) / filename
        if os.path.realpath(path.parent) != str(Path(os.path.realpath(self._directory), filename).parent):
            raise ForeignRowError("a link leads out of the store")
        return path


def _read_regular(path: Path) -> bytes:
    """Return the contents of a file that is no link, pipe or device."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(handle, "rb") as reader:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ForeignRowError("not a regular file")
        return reader.read()
