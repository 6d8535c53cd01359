"""The marks that tests had when they were collected, and those that hooks gave them later."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import pytest

from pytest_perfcache.collect.light import LightFunction
from pytest_perfcache.collect.sketch import pack
from pytest_perfcache.model import Told

_DECIDING: Final = frozenset(("skip", "skipif", "xfail"))
"""Marks that decide how a test ends."""


class Marks:
    """Marks by test and by each node around it, as they were before other plugins saw the test."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[pytest.Mark, ...]] = {}

    def note(self, node: Any) -> None:
        """A test was collected just now, or a node that holds tests."""
        while node is not None and node not in self._known:
            self._known[node] = tuple(node.own_markers)
            node = node.parent

    def note_light(self, item: LightFunction) -> None:
        """A light test appeared in a node that is noted."""
        self._known.setdefault(item, item.given)

    def is_untouched(self, node: pytest.Collector | None) -> bool:
        """Whether a noted node and all around it have the marks that they had."""
        while node is not None and self._known.get(node) == tuple(node.own_markers):
            node = node.parent
        return node is None

    def first(self, node: Any) -> tuple[pytest.Mark, ...]:
        """Its own marks when it was collected; those it has where nobody noted them."""
        return self._known.get(node, tuple(node.own_markers))

    def late(self, item: pytest.Item) -> str | None:
        """The marks that decide how the test ends and came later, as text.

        None where others went, where it was not noted, or where values are in them that cannot be kept.
        """
        noted = self._known.get(item)
        if noted is None or not all(map(self._is_as_noted, item.listchain()[:-1])):
            return None
        return "" if noted == tuple(item.own_markers) else _added(_deciding(noted), _deciding(item.own_markers))

    def _is_as_noted(self, node: Any) -> bool:
        noted = self._known.get(node, ())
        return noted == tuple(node.own_markers) or _deciding(noted) == _deciding(node.own_markers)


def _added(before: list[pytest.Mark], now: list[pytest.Mark]) -> str | None:
    """What came to the marks, as text; None where one went, or where values are in them that cannot be kept."""
    known = set(map(id, before))
    if [id(mark) for mark in now if id(mark) in known] != list(map(id, before)):
        return None
    new = [(at, mark.name, pack(mark.args, mark.kwargs)) for at, mark in enumerate(now) if id(mark) not in known]
    if any(arguments is None for *_, arguments in new):
        return None
    return json.dumps(new) if new else ""


_STASHED: Final = pytest.StashKey[Marks]()


def marks_of(config: pytest.Config) -> Marks:
    """Those of this session."""
    return config.stash.setdefault(_STASHED, Marks())


def _deciding(marks: Iterable[pytest.Mark]) -> list[pytest.Mark]:
    return [mark for mark in marks if mark.name in _DECIDING]


def is_marked_as_told(item: pytest.Item, told: Told | None) -> bool:
    """Whether hooks gave the test the marks again that it had when it ended as is told; a plain pass had none."""
    return marks_of(item.config).late(item) == ("" if told is None else told.late)
