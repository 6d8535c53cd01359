"""From a module as pytest collected it to its sketch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pytest_perfcache.collect.sketch import ClassSketch, ItemSketch, MarkSketch, Sketch, number_of, pack

_LAZY = frozenset(("parametrize", "usefixtures"))
"""Marks kept by name alone: long, and wanted by pytest only when a test is collected or run."""


_identity = object.__hash__  # `id` is an audit event
_Node: TypeAlias = pytest.Item | pytest.Collector


def sketch_module(
    module: pytest.Module, items: Sequence[pytest.Item], marks: Callable[[_Node], Iterable[pytest.Mark]]
) -> Sketch | None:
    """The sketch of a module with these tests; None where something is there that could not be stood in for.

    ``marks`` gives the own marks of a node without those that hooks give light tests too.
    """
    return _Sketcher(module, marks).sketch(items) if type(module) is pytest.Module else None


class _Sketcher:
    def __init__(self, module: pytest.Module, marks: Callable[[_Node], Iterable[pytest.Mark]]) -> None:
        self._module = module
        self._marks_of = marks
        self._marks: list[MarkSketch] = []
        self._table: dict[str, int] = {}
        self._known: dict[int, int] = {}
        self._classes: list[ClassSketch] = []
        self._first: dict[tuple[type, int, int, str, int], ItemSketch] = {}
        """The first test of each parametrized function: the others differ in names and marks alone."""
        self._numbers: dict[pytest.Collector, int] = {module: -1}

    def sketch(self, items: Iterable[pytest.Item]) -> Sketch | None:
        rows: list[ItemSketch] = []
        held: set[str] = set()
        for item in items:
            if not isinstance(item, pytest.Function) or _has_wide_parameters(item):
                return None
            parent = self._number(item.parent)
            if parent is None:
                return None
            rows.append(self._item(item, parent))
            held.update(vars(item))
        own = self._own_marks(self._module)
        return Sketch(tuple(self._marks), own, tuple(self._classes), tuple(rows), tuple(sorted(held)))

    def _item(self, item: pytest.Function, parent: int) -> ItemSketch:
        key = type(item), _identity(item.function), parent, item.originalname, _identity(item.fixturenames)
        first = self._first.get(key)
        if first is not None:
            domain = first.domain.removesuffix(first.name) + item.name
            return first._replace(name=item.name, domain=domain, marks=self._own_marks(item))
        path, line, domain = item.location
        found = ItemSketch(
            item.name,
            item.originalname,
            parent,
            type(item).__name__,
            path,
            line,
            domain,
            self._own_marks(item),
            tuple(sorted(vars(item.function))),
            tuple(item.fixturenames),
            hasattr(item, "callspec"),
        )
        if type(item) is pytest.Function and found.parametrized and domain.endswith(item.name):
            self._first[key] = found
        return found

    def _number(self, node: pytest.Collector | None) -> int | None:
        """The number of a class; None for a collector of another kind."""
        known = self._numbers.get(node) if node is not None else None
        if known is not None:
            return known
        if not isinstance(node, pytest.Class):
            return None
        around = self._number(node.parent)
        if around is None:
            return None
        self._classes.append(ClassSketch(node.name, around, type(node).__name__, self._own_marks(node)))
        self._numbers[node] = len(self._classes) - 1
        return self._numbers[node]

    def _own_marks(self, node: _Node) -> tuple[int, ...]:
        return tuple(map(self._number_of_mark, self._marks_of(node)))

    def _number_of_mark(self, mark: pytest.Mark) -> int:
        identity = _identity(mark)  # the tests of a parametrized function share their marks
        found = self._known.get(identity)
        if found is None:
            arguments = None if mark.name in _LAZY else pack(mark.args, dict(mark.kwargs))
            found = self._known[identity] = number_of(MarkSketch(mark.name, arguments), self._table, self._marks)
        return found


def entry_of(module: pytest.Module, relative: Callable[[str], str], *, loaded: bool) -> str | None:
    """The directory that the import put on ``sys.path``, from the root, as import mode and module name tell.

    Of a module that is not ``loaded``, as one that skips itself, there is no name; then its packages tell.
    """
    if module.config.getoption("importmode") not in ("prepend", "append"):
        return None
    folders = Path(module.path).parents
    if loaded:
        directory = folders[module.obj.__name__.count(".")]
    else:
        directory = next(folder for folder in folders if not (folder / "__init__.py").is_file())
    return relative(str(directory)) if os.fspath(directory) in sys.path else None


def _has_wide_parameters(item: pytest.Function) -> bool:
    """Whether it has parameters of a scope wider than the module, by which pytest sorts tests across modules."""
    callspec: Any = getattr(item, "callspec", None)
    scopes = getattr(callspec, "_arg2scope", {})  # private, and the only place where it stands
    return any(scope.value in ("package", "session") for scope in scopes.values())
