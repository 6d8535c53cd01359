"""Whether a class is made by Python alone: no decorator, metaclass or hook of a base class looks at what it holds."""

from __future__ import annotations

import builtins
import collections.abc
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Final

from pytest_perfcache.facts.source import Analysis
from pytest_perfcache.facts.values import full_name

_PLAIN: Final = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and value is not type and value is not super
)


_HARMLESS: Final = frozenset(
    f"{module}.{name}"
    for module, names in {
        "abc": ["ABC"],
        "collections.abc": collections.abc.__all__,
        "typing": ["Generic", *collections.abc.__all__],
    }.items()
    for name in names
)
"""Base classes whose metaclass and hooks look at no attribute that a literal is the value of."""


class Inheritance:
    """Follows base classes through the project. ``analysis`` gives a file as it is now, None where it is not there."""

    def __init__(self, analysis: Callable[[str], Analysis | None]) -> None:
        self._analysis = analysis

    def is_plain(self, path: str, analysis: Analysis, values: Iterable[str]) -> bool:
        """Whether all classes whose attributes are among these values are plain, with all their bases."""
        owners = {name.rpartition(".")[0] for name in values if "." in name}
        return all(self._plain(path, analysis, owner, frozenset()) for owner in owners)

    def _plain(self, path: str, analysis: Analysis, name: str, seen: frozenset[tuple[str, str]]) -> bool:
        name = name.partition("[")[0]
        if name not in analysis.bases:
            return self._plain_elsewhere(path, analysis, name, seen)
        bases = analysis.bases[name]
        if bases is None or (path, name) in seen:
            return False
        return all(self._plain(path, analysis, base, seen | {(path, name)}) for base in bases)

    def _plain_elsewhere(self, path: str, analysis: Analysis, name: str, seen: frozenset[tuple[str, str]]) -> bool:
        if full_name(name, analysis.sources, analysis.modules) in _HARMLESS:
            return True
        source = analysis.sources.get(name)
        if source is None:
            return name in _PLAIN and analysis.bound.isdisjoint((name, "*"))
        for candidate in _files(path, *source[:2]):
            found = self._analysis(candidate)
            if found is not None:
                return self._plain(candidate, found, source[2], seen)
        return False


def _files(path: str, dots: int, module: str) -> Iterable[str]:
    """Where a ``from`` import finds a module of the same project."""
    parents = PurePosixPath(path).parents
    tail = module.replace(".", "/")
    bases = parents[dots - 1 : dots] if dots else parents
    for base in bases:
        found = base / tail
        yield str(found.with_name(f"{found.name}.py") if tail else base / "__init__.py")
        yield str(found / "__init__.py")
