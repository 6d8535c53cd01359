"""Sees what is asked of installed distributions: of one by its name, of all, or which entry points there are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.trace.audit import harness_asks
from pytest_perfcache.trace.patches import Patches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_perfcache.trace.inputs import Inputs


METADATA: Final = "importlib.metadata"


class MetadataObserver:
    """Patches the two functions of ``importlib.metadata`` that all others stand on, once it is there.

    :meth:`begin` is to be called when it was imported: many a process never does. Undone by :meth:`close`.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._patches = Patches()
        self._inputs = inputs
        self._by_group = False
        if METADATA in sys.modules:
            self.begin()

    def begin(self) -> None:
        metadata: Any = sys.modules[METADATA]
        inputs = self._inputs
        discover: Callable[..., Any] = vars(metadata.Distribution)["discover"].__func__
        points = metadata.entry_points

        def traced_discover(cls: Any, /, **asked: Any) -> Iterable[Any]:
            if not self._by_group and not harness_asks(2, metadata=False):
                name = asked.get("name") or getattr(asked.get("context"), "name", None)
                if isinstance(name, str):
                    inputs.read_distribution(name)
                else:
                    inputs.read_entry_points("")
            found: Iterable[Any] = discover(cls, **asked)
            return found

        def entry_points(**asked: Any) -> Any:
            group = asked.get("group")
            if not isinstance(group, str) or harness_asks(2, metadata=False):
                return points(**asked)
            inputs.read_entry_points(group)
            self._by_group = True
            try:
                return points(**asked)
            finally:
                self._by_group = False

        self._patches.put(metadata.Distribution, "discover", classmethod(traced_discover))
        self._patches.put(metadata, "entry_points", entry_points)

    def close(self) -> None:
        self._patches.close()
