"""What source files consist of, from one run to the next: to read it takes a fortieth of the analysis' time.

Kept as JSON with zlib, by the fingerprint of the content and by that of the code that analyses it.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from pytest_perfcache.errors import CodecError
from pytest_perfcache.facts.digest import fingerprint
from pytest_perfcache.facts.source import Analysis, analyse
from pytest_perfcache.facts.stats import read_bytes
from pytest_perfcache.model import Fingerprint

_MAKERS: Final = """
    analyses.py bindings.py context.py digest.py mentions.py source.py texts.py tree.py values.py
    """.split()
"""What decides how a file is analysed and written down."""


class Analyses:
    """Of contents, by fingerprint. ``fresh``: those that were made now and can be kept, by name."""

    def __init__(self, kept: Callable[[str], bytes | None]) -> None:
        """``kept`` gives what was kept under a name, None where there is nothing."""
        self._kept = kept
        self._known: dict[Fingerprint, Analysis | None] = {}
        self.fresh: dict[str, bytes] = {}

    def of(self, content: Fingerprint, source: Callable[[], bytes | None]) -> Analysis | None:
        """None where the source is gone or is not valid Python."""
        if content not in self._known:
            self._known[content] = self._read(content) or self._make(content, source())
        return self._known[content]

    def _read(self, content: Fingerprint) -> Analysis | None:
        data = self._kept(_name(content))
        try:
            return None if data is None else decode(data)
        except CodecError:
            return None

    def _make(self, content: Fingerprint, source: bytes | None) -> Analysis | None:
        made = None if source is None else analyse(source)
        if made is not None:
            self.fresh[_name(content)] = encode(made)
        return made


def encode(analysis: Analysis) -> bytes:
    words = sorted(analysis.all_mentions)
    numbers = {word: number for number, word in enumerate(words)}
    document = [
        analysis.skeleton.hex(),
        _texts(analysis.bindings),
        _texts(analysis.blocks),
        words,
        {name: [numbers[word] for word in mentioned] for name, mentioned in analysis.mentions.items()},
        sorted(analysis.classes),
        _texts(analysis.values),
        dict(analysis.bases),
        dict(analysis.sources),
        dict(analysis.modules),
        sorted(analysis.bound),
    ]
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)


def decode(data: bytes) -> Analysis:
    """What :func:`encode` wrote; :class:`CodecError` for anything else."""
    try:
        skeleton, bindings, blocks, words, mentions, classes, values, bases, sources, modules, bound = json.loads(
            zlib.decompress(data)
        )
        word = list(map(sys.intern, words)).__getitem__
        return Analysis(
            skeleton=bytes.fromhex(skeleton),
            bindings=_fingerprints(bindings),
            blocks=_fingerprints(blocks),
            mentions={name: frozenset(map(word, numbers)) for name, numbers in mentions.items()},
            classes=frozenset(classes),
            values=_fingerprints(values),
            bases={name: None if found is None else tuple(found) for name, found in bases.items()},
            sources={name: (int(dots), str(module), str(there)) for name, (dots, module, there) in sources.items()},
            modules=dict(modules),
            bound=frozenset(bound),
        )
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError, zlib.error) as error:
        raise CodecError(f"damaged analysis of a source file: {error}") from error


def _texts(found: Mapping[str, Fingerprint]) -> dict[str, str]:
    return {name: value.hex() for name, value in found.items()}


def _fingerprints(texts: Mapping[str, str]) -> dict[str, Fingerprint]:
    return {name: bytes.fromhex(value) for name, value in texts.items()}


def _name(content: Fingerprint) -> str:
    return f"{_maker()}/{content.hex()}"


@cache
def _maker() -> str:
    texts = [read_bytes(os.path.join(os.path.dirname(__file__), name)) for name in _MAKERS]
    return fingerprint(b"\0".join([sys.version.encode(), *texts])).hex()[:16]
