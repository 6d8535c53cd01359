"""What the list of a module's tests depends on, block by block, for the day when a file that it touches is edited.

Encoded: zlib over JSON, the facts as pairs of key and fingerprint (in hex), the names of the tests, the paths.
"""

from __future__ import annotations

import json
import zlib
from typing import Final, NamedTuple

from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact

_VERSION: Final = 1
_LEVEL: Final = 1


class Collected(NamedTuple):
    """A module as it was collected once."""

    facts: tuple[Fact, ...]
    tests: tuple[str, ...]
    """Node ids, without the module's path, of those that were selected."""
    located: tuple[str, ...]
    """Paths of the files in which its tests are defined: with these, the lines change that reports name."""

    def to_bytes(self) -> bytes:
        facts = [[fact.key, fact.fingerprint.hex()] for fact in self.facts]
        document = [_VERSION, facts, self.tests, self.located]
        return zlib.compress(json.dumps(document, separators=(",", ":")).encode("utf-8", "surrogatepass"), _LEVEL)

    @classmethod
    def from_bytes(cls, data: bytes) -> Collected:
        """What :meth:`to_bytes` wrote; :class:`CodecError` for anything else."""
        try:
            version, facts, tests, located = json.loads(zlib.decompress(data))
            if version != _VERSION:
                raise ValueError("written by another version")
            found = tuple(Fact(str(key), bytes.fromhex(value)) for key, value in facts)
            return cls(found, tuple(map(str, tests)), tuple(map(str, located)))
        except (ValueError, TypeError, RecursionError, zlib.error) as error:
            raise CodecError(f"damaged list of a module's tests: {error}") from error
