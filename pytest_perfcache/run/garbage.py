"""Less work for Python's garbage collector, which would look at pytest's own objects again and again."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

_PASSES: Final = 5
"""As many as pytest made before it left the others to PyPy."""
_MAKES_ONE: Final = (9, 2)
"""The first version of pytest that did."""
_OF_PYTHON: Final = 1000
"""More than Python 3.12 sets apart itself when it starts; where there are more, somebody else did."""
_NEVER: Final = 1_000_000_000


def set_apart() -> None:
    """Take pytest, its plugins and what they import out of the collector's sight: they live to the end.

    No code of the project is loaded yet, so nothing of its own is set apart. A session inside another one, as tests
    of plugins have it, leaves everything as it is.
    """
    if gc.get_freeze_count() < _OF_PYTHON and "PYTEST_CURRENT_TEST" not in os.environ:
        gc.freeze()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Look for no garbage in this block, which makes many objects that live on, and runs no code of the project."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def nothing_old() -> Iterator[None]:
    """Look for garbage among what is young in this block, which makes many objects that live on, but not in the rest.

    Somebody who calls the collector himself, or sets its thresholds, has his way.
    """
    before = gc.get_threshold()
    meanwhile = (*before[:2], _NEVER)
    gc.set_threshold(*meanwhile)
    try:
        yield
    finally:
        if gc.get_threshold() == meanwhile:
            gc.set_threshold(*before)


class CollectionPlugin:
    """Each time what lives has grown by a quarter, all of it would be looked through, though tests live to the end."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        with nothing_old():
            return (yield)


def sweep(config: pytest.Config) -> None:
    """Collect garbage until there is none left, in the place of pytest's five passes at the end.

    From 9.2 on there is nothing to spare. Pytest collects so that whatever an object raises when it goes is still
    told. A pass that found nothing leaves nothing to the next one. The import is private, and the only way: pytest
    keeps the number there for others to set.
    """
    if pytest.version_tuple >= _MAKES_ONE:
        return
    try:
        from _pytest.unraisableexception import gc_collect_iterations_key
    except ImportError:  # an older pytest makes no passes
        return
    stash: Any = config.stash
    if stash.get(gc_collect_iterations_key, _PASSES) == _PASSES and config.pluginmanager.has_plugin(
        "unraisableexception"
    ):
        for _ in range(_PASSES):
            if not gc.collect():
                break
        stash[gc_collect_iterations_key] = 0
