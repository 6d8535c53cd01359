"""Marked code from one process to the next: to mark a function takes longer than to load it.

A file for each module, named by its path, with the fingerprints of the code that was marked and of what follows:
``marshal`` must never be given damaged data. Code that was marked by another state of the plugin is not believed.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.facts.digest import fingerprint
from pytest_perfcache.facts.stats import read_bytes, stat, write_bytes

if TYPE_CHECKING:
    from types import CodeType

_PRINT: Final = 16
_MAKERS: Final = ("bytecode.py", "codes.py", "containers.py", "helped.py", "keys.py", "marks.py", "stateful.py")
"""What decides how code is marked, and what is known of it."""
_WITHOUT_REFERENCES: Final = 2
"""The version of marshal's format in which the same code always gives the same bytes."""


class CodeStore:
    """In a directory within ``home``, which somebody else makes: nothing is written before it is there."""

    def __init__(self, home: str) -> None:
        self._home = home
        made = [stat(os.path.join(os.path.dirname(__file__), name)) for name in _MAKERS]
        self._maker = f"{sys.version} {[(found.st_mtime_ns, found.st_size) for found in made]}".encode()
        self._fresh: dict[str, bytes] = {}

    @property
    def is_new(self) -> bool:
        """Whether not all that is likely to be wanted was kept by this state of the plugin."""
        return not os.path.exists(self._named(self._maker))

    def get(self, path: str, code: CodeType) -> Any:
        """What was kept for this code of the module; None where there is nothing, or nothing that can be read."""
        try:
            data = read_bytes(self._file(path))
        except OSError:
            return None
        body = data[2 * _PRINT :]
        if data[_PRINT : 2 * _PRINT] != fingerprint(body) or data[:_PRINT] != self._key(code):
            return None
        return marshal.loads(zlib.decompress(body))

    def put(self, path: str, code: CodeType, value: Any) -> None:
        """Keep it, at once where there is a directory for it; what can not be written down is left out."""
        try:
            body = zlib.compress(marshal.dumps(value), 1)
        except ValueError:
            return
        self._fresh[path] = self._key(code) + fingerprint(body) + body
        self.flush()

    def flush(self) -> None:
        """Write what is new. That this can not be done costs nothing but time."""
        if not self._fresh or not os.path.isdir(self._home):
            return
        with contextlib.suppress(OSError):
            os.makedirs(os.path.join(self._home, "code"), exist_ok=True)
            for path, data in self._fresh.items():
                write_bytes(self._file(path), data)
            self._fresh.clear()

    def finish(self) -> None:
        """Note that all that is likely to be wanted was kept."""
        with contextlib.suppress(OSError):
            write_bytes(self._named(self._maker), b"")

    def _key(self, code: CodeType) -> bytes:
        return fingerprint(self._maker + marshal.dumps(code, _WITHOUT_REFERENCES))

    def _file(self, path: str) -> str:
        return self._named(f"{sys.implementation.cache_tag} {path}".encode("utf-8", "surrogatepass"))

    def _named(self, text: bytes) -> str:
        return os.path.join(self._home, "code", fingerprint(text).hex())
