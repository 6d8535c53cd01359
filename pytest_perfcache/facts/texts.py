"""What a text could lead to: names in it, modules, and the examples of a docstring."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

DOCTEST: Final = ">>>"
_WORD: Final = re.compile(r"[^\W\d]\w*")
_DOTTED: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_REFERENCE: Final = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?::[\w.]*)?")
_EXAMPLE: Final = re.compile(r"^[ \t]*(?:>>>|\.\.\.)(?:[ ](.*))?$", re.MULTILINE)


def mentions_in_text(text: str) -> Iterator[str]:
    """The words of a text; and what may be the name of a module in it."""
    yield from _WORD.findall(text)
    if whole := _REFERENCE.fullmatch(text):
        yield f"@{whole[1]}"
        return
    prose = len(text.split()) > 1
    for found in _DOTTED.findall(text):
        if "." in found or not prose:
            yield f"@{found}"
        else:
            yield f"~{found}"


def modules_in_texts(texts: Iterable[str]) -> Iterator[str]:
    """What may be names of modules in texts from outside, such as environment variables: whole ones, or dotted."""
    for text in texts:
        if whole := _REFERENCE.fullmatch(text):
            yield f"@{whole[1]}"
        else:
            yield from (f"@{found}" for found in _DOTTED.findall(text) if "." in found)


def examples_in(text: str) -> str:
    """The code of all examples of a docstring, as the module ``doctest`` finds them."""
    return "\n".join(match[1] or "" for match in _EXAMPLE.finditer(text))
