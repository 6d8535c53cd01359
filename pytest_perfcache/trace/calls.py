"""Which functions ran: one protocol, and the cheapest sound means this interpreter has for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Mapping, Sized
from types import CodeType, FrameType, FunctionType
from typing import Any, Protocol

from pytest_perfcache.trace.codes import Codes


class Scopes(Protocol):
    """Is told when a watched function starts and returns."""

    @property
    def loose(self) -> Container[int]:
        """Functions of whose start it need not be told where all objects that they work on are met already."""

    @property
    def met_here(self) -> Mapping[int, Callable[[], object]]:
        """These objects, by identity."""

    def enter(self, number: int, frame: FrameType | None) -> None:
        """The function starts; ``frame`` is its own, None where it ran in a thread of its own."""

    def leave(self, number: int) -> None:
        """The function returns; not told when it raises."""

    def meets(
        self,
        number: int,
        names: tuple[str, ...],
        values: tuple[object, ...],
        outer: tuple[str, ...] = (),
        namespace: dict[str, Any] | None = None,
    ) -> bool:
        """The function starts with these values; whether that is all there is to be told of its start.

        ``names``: of its arguments, and of variables of the functions around it, which are ``outer``;
        ``namespace``: its globals, where they matter.
        """


class CallTracer(Protocol):
    """Marks functions when their code is loaded; tells which marked functions were entered, in any thread."""

    scopes: Scopes | None
    busy: set[int]
    """Functions of whose start the scopes need not be told now."""
    awaited: set[int]
    """Functions of whose return they want to be told."""

    def instrument(self, code: CodeType, path: str) -> CodeType:
        """Mark all functions of a module; the code to execute in its place. ``path`` names the module's file.

        Functions that the codes hold as stateful are watched: the scopes hear of each start and return.
        """

    def watch(self, function: FunctionType, names: tuple[str, ...] = ()) -> int | None:
        """Watch a function that was marked before; its number, None where it was not.

        ``names``: arguments to be told with its start.
        """

    def number_of(self, code: CodeType) -> int | None:
        """The number of the function whose code was marked; None where it was not."""

    def take(self) -> list[int]:
        """Numbers of the functions that were entered since the last call."""

    @property
    def entered(self) -> Sized | None:
        """Grows by them; None where that can not be looked at when the interpreter ends."""

    def intact(self) -> bool:
        """Whether nobody took the tracer's means away."""

    def close(self) -> None:
        """Stop for good. Code that was marked runs on."""


def call_tracer(codes: Codes, home: str | None = None) -> CallTracer | None:
    """The tracer for this interpreter; None where another tool holds every slot that it could use.

    ``home``: the directory of the cache, in which marked code may be kept.
    """
    if sys.version_info >= (3, 14):
        from pytest_perfcache.trace.monitor import MonitorTracer

        return MonitorTracer.acquire(codes)
    from pytest_perfcache.trace.marks import MarkTracer

    if home is None:
        return MarkTracer(codes)
    from pytest_perfcache.trace.codestore import CodeStore

    return MarkTracer(codes, CodeStore(home))
