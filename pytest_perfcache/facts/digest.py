"""Fingerprints: xxh3-128 of bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from xxhash import xxh3_128, xxh3_128_digest

from pytest_perfcache.model import Fingerprint

ABSENT: Final[Fingerprint] = bytes(16)
"""The fingerprint of what does not exist."""


def fingerprint(data: bytes) -> Fingerprint:
    return xxh3_128_digest(data)


def fingerprint_text(text: str) -> Fingerprint:
    return xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


def fingerprint_all(parts: Iterable[str]) -> Fingerprint:
    """One fingerprint of several texts; their boundaries count."""
    state = xxh3_128()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.digest()
