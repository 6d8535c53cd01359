"""What is known of lists of tests before they are collected again, as the store keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_perfcache.errors import CodecError
from pytest_perfcache.facts.digest import ABSENT, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_perfcache.decide.collected import Collected
    from pytest_perfcache.decide.settled import State
    from pytest_perfcache.model import Fingerprint
    from pytest_perfcache.store.protocol import Store

_COLLECTED: Final = "collected/"


class Lists:
    """Reads what was kept of the modules of a run at once, when the first of them is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs: dict[Fingerprint, Mapping[str, Collected]] = {}

    def load(self, states: Iterable[State]) -> None:
        """Fetch what will be asked for with one request."""
        wanted = {_key(state.collected): state.collected for state in states if state.collected not in self._runs}
        found = self._store.get_many(sorted(wanted))
        for key, run in wanted.items():
            self._runs[run] = _unpacked(found.get(key))

    def of(self, path: str, state: State) -> Collected | None:
        """What is known of the module in this state; None where that can not be read."""
        self.load([state])
        return self._runs[state.collected].get(path)


def packed(modules: Mapping[str, Collected]) -> tuple[Fingerprint, dict[str, bytes]]:
    """How states name what is known of these modules, and what is to be stored for it: nothing where there are none."""
    from pytest_perfcache.decide.collected import pack

    if not modules:
        return ABSENT, {}
    data = pack(modules)
    run = fingerprint(data)
    return run, {_key(run): data}


def _key(run: Fingerprint) -> str:
    return f"{_COLLECTED}{run.hex()}"


def _unpacked(data: bytes | None) -> Mapping[str, Collected]:
    from pytest_perfcache.decide.collected import unpack  # an unchanged run needs none

    try:
        return {} if data is None else unpack(data)
    except CodecError:
        return {}
