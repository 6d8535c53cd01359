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

from pytest_perfcache.facts.digest import fingerprint, fingerprint_text
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
        """Keep it, at the end; what can not be written down is left out."""
        try:
            body = zlib.compress(marshal.dumps(value), 1)
        except ValueError:
            return
        self._fresh[path] = self._key(code) + fingerprint(body) + body

    def flush(self) -> None:
        """Write what is new. That this can not be done costs nothing but time."""
        if not self._fresh or not os.path.isdir(self._home):
            return
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._file("")), exist_ok=True)
            for path, data in self._fresh.items():
                write_bytes(self._file(path), data)
        self._fresh.clear()

    def _key(self, code: CodeType) -> bytes:
        return fingerprint(self._maker + marshal.dumps(code, _WITHOUT_REFERENCES))

    def _file(self, path: str) -> str:
        name = fingerprint_text(f"{sys.implementation.cache_tag} {path}").hex()
        return os.path.join(self._home, "code", name)
