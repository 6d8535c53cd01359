"""The entry of a traced child process, called by the ``.pth`` file while Python starts.

Must never break that start: whatever goes wrong here only leaves the child without a trace, which its parent sees.
What it imports is taken out of ``sys.modules`` again, so that the child finds it as empty as it would be otherwise.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_perfcache.trace.tracing import Tracing

VARIABLE = "PERFCACHE_CHILD"
_KEPT: list[object] = []
_SHARED = ("importlib", "encodings", "runpy", "threading", __package__)
"""What can not be there twice: it is, or we changed, the interpreter's own."""


def begin() -> None:
    """Observe this process until it ends, if that is what the environment asks for."""
    value = os.environ.pop(VARIABLE, None)
    if value is None:
        return
    before = frozenset(sys.modules)
    try:
        tracing = _trace(value)
    finally:
        _hide(before)
    if tracing is not None:
        _KEPT.append(tracing)
        tracing.children.exchange.begin(whole_process=True)


def _trace(value: str) -> Tracing | None:
    import atexit

    from pytest_perfcache.trace import children
    from pytest_perfcache.trace.handover import Setup
    from pytest_perfcache.trace.tracing import Tracing

    ticket, _, directory = value.partition(":")
    setup = Setup.read(os.path.join(directory, children.SETUP))
    tracing = Tracing.start(setup.root, *setup.scratch)
    if tracing is not None:
        tracing.children.installed = True
        tracing.children.ticket = ticket
        tracing.children.directory = directory
        atexit.register(children.finish)
    return tracing


def _hide(before: frozenset[str]) -> None:
    """Modules written in Python are loaded anew when somebody asks for them; those in C are one for the process."""
    for name in sys.modules.keys() - before:
        file = getattr(sys.modules[name], "__file__", None)
        if name.partition(".")[0] not in _SHARED and isinstance(file, str) and file.endswith(".py"):
            _KEPT.append(sys.modules.pop(name))
