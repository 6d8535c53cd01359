"""What a child process touched, as it tells its parent.

Written with ``marshal``: both ends are the same interpreter, and the child needs to import nothing for it when it
ends, when the project's own modules may shadow the standard library's.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, NamedTuple

from pytest_perfcache.facts.stats import Signature, read_bytes, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_perfcache.model import Fingerprint


class Seen(NamedTuple):
    """An input as it was at first use: fingerprint, or (``looked``) the file's signature, None where it was absent."""

    fingerprint: Fingerprint | None
    looked: bool = False
    signature: Signature | None = None


class Loaded(NamedTuple):
    """A project module as the child loaded it."""

    path: str
    content: Fingerprint
    signature: Signature | None
    coarse: bool


class Handover(NamedTuple):
    """All that a child and its own children touched. ``imports``: top-level names, found along ``entries``."""

    environment: str
    """``sys.prefix``."""
    untracked: str
    late: str
    """What may still run when this is told; empty where nothing is known that may."""
    modules: tuple[Loaded, ...]
    blocks: tuple[tuple[str, str], ...]
    inputs: Mapping[str, Seen]
    imports: tuple[str, ...]
    entries: tuple[str, ...]
    written: tuple[str, ...]
    made: tuple[str, ...]

    def encode(self) -> bytes:
        modules = [(path, content, _plain(signature), coarse) for path, content, signature, coarse in self.modules]
        inputs = {key: (seen.fingerprint, seen.looked, _plain(seen.signature)) for key, seen in self.inputs.items()}
        return marshal.dumps((self.environment, self.untracked, self.late, modules, self.blocks, inputs, *self[6:]))

    @classmethod
    def decode(cls, data: bytes) -> Handover:
        """EOFError, ValueError or TypeError where this is no handover."""
        environment, untracked, late, modules, blocks, inputs, *rest = marshal.loads(data)
        return cls(
            environment,
            untracked,
            late,
            tuple(Loaded(path, content, _signature(of), coarse) for path, content, of, coarse in modules),
            blocks,
            {key: Seen(content, looked, _signature(of)) for key, (content, looked, of) in inputs.items()},
            *rest,
        )

    def write(self, target: str) -> None:
        """At once or not at all."""
        write_bytes(target, self.encode())


class Setup(NamedTuple):
    """What a child needs to know to observe itself: the project's root, and what is no input."""

    root: str
    scratch: tuple[str, ...]

    def write(self, target: str) -> None:
        write_bytes(target, marshal.dumps(tuple(self)))

    @classmethod
    def read(cls, source: str) -> Setup:
        return cls(*marshal.loads(read_bytes(source)))


def _plain(signature: Signature | None) -> tuple[int, ...] | None:
    return None if signature is None else tuple(signature)


def _signature(values: Iterable[int] | None) -> Signature | None:
    return None if values is None else Signature(*values)
