"""What a child process touched, as it tells its parent: one JSON document."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytest_perfcache.facts.stats import Signature
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


@dataclass(frozen=True, slots=True)
class Handover:
    """All that a child and its own children touched. ``imports``: top-level names, found along ``entries``."""

    environment: str
    """``sys.prefix``."""
    untracked: str
    modules: tuple[Loaded, ...] = ()
    blocks: tuple[tuple[str, str], ...] = ()
    inputs: Mapping[str, Seen] | None = None
    imports: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    def encode(self) -> bytes:
        document = {
            "environment": self.environment,
            "untracked": self.untracked,
            "modules": [
                [module.path, module.content.hex(), module.signature, module.coarse] for module in self.modules
            ],
            "blocks": self.blocks,
            "inputs": {
                key: [seen.fingerprint and seen.fingerprint.hex(), seen.looked, seen.signature]
                for key, seen in (self.inputs or {}).items()
            },
            "imports": self.imports,
            "entries": self.entries,
            "written": self.written,
            "made": self.made,
        }
        return json.dumps(document).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> Handover:
        """ValueError, KeyError or TypeError where this is no handover."""
        document: dict[str, Any] = json.loads(data)
        return cls(
            environment=document["environment"],
            untracked=document["untracked"],
            modules=tuple(
                Loaded(path, bytes.fromhex(content), _signature(signature), coarse)
                for path, content, signature, coarse in document["modules"]
            ),
            blocks=tuple((path, qualname) for path, qualname in document["blocks"]),
            inputs={
                key: Seen(None if content is None else bytes.fromhex(content), looked, _signature(signature))
                for key, (content, looked, signature) in document["inputs"].items()
            },
            **{name: tuple(document[name]) for name in ("imports", "entries", "written", "made")},
        )

    def write(self, target: Path) -> None:
        """At once or not at all."""
        draft = target.with_suffix(".part")
        draft.write_bytes(self.encode())
        os.replace(draft, target)


def _signature(values: Iterable[int] | None) -> Signature | None:
    return None if values is None else Signature(*values)
