"""How near the scheduler comes to the lower bound, simulated and in real runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """The simulated runs, or with `real` first the runs with real workers."""
    if arguments[:1] == ["real"]:
        from benchmarks.scheduling import real

        real.main(arguments[1:])
    else:
        from benchmarks.scheduling import __main__ as simulated

        simulated.main(arguments)
