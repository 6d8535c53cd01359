"""Sees which functions ``functools`` keeps results of."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def watch_functools(noted: Callable[[FunctionType, object], None]) -> Callable[[], None]:
    """Tell of each function that ``lru_cache`` or ``cached_property`` wraps from now on; returns the way back."""
    lru_cache, init = functools.lru_cache, functools.cached_property.__init__

    @functools.wraps(lru_cache)
    def traced_lru_cache(*args: Any, **kwargs: Any) -> Any:
        result = lru_cache(*args, **kwargs)
        if hasattr(result, "cache_info"):
            _note(result, noted)
            return result

        def decorate(function: Callable[..., Any]) -> Any:
            cache = result(function)
            _note(cache, noted)
            return cache

        return decorate

    def traced_init(self: Any, func: Any) -> None:
        init(self, func)
        if type(func) is FunctionType:
            noted(func, self)

    functools.lru_cache = traced_lru_cache
    functools.cached_property.__init__ = traced_init  # type: ignore[method-assign]

    def undo() -> None:
        functools.lru_cache = lru_cache
        functools.cached_property.__init__ = init  # type: ignore[method-assign]

    return undo


def _note(cache: Any, noted: Callable[[FunctionType, object], None]) -> None:
    function = getattr(cache, "__wrapped__", None)
    if isinstance(function, FunctionType):
        noted(function, cache)
