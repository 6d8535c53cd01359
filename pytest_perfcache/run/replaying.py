"""``--perfcache-replay``: what one worker ran, in its order, in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from pytest_perfcache.run.telling import TellingPlugin
from pytest_perfcache.store.protocol import Store

_KEY: Final = "workers"


def save_orders(store: Store, orders: Mapping[str, Sequence[str]]) -> None:
    """Remember what each worker of this run ran, in its order; a run without workers changes nothing."""
    if orders:
        store.set(_KEY, json.dumps(orders).encode())


def order_of(store: Store, worker: str) -> list[str]:
    """The node ids that a worker of the last parallel run ran; ``UsageError`` where there was no such worker."""
    try:
        found = json.loads(store.get(_KEY) or b"{}")
        orders = {name: order for name, order in found.items() if isinstance(order, list)}
    except (ValueError, AttributeError):
        orders = {}
    if worker not in orders:
        known = f"only {', '.join(sorted(orders))}" if orders else "no parallel run is remembered"
        raise pytest.UsageError(f"--perfcache-replay: there was no worker {worker!r}; {known}")
    return [str(nodeid) for nodeid in orders[worker]]


class ReplayPlugin:
    """Leaves exactly the tests of one worker, in its order."""

    def __init__(self, order: Sequence[str], telling: TellingPlugin) -> None:
        self._order = order
        self._telling = telling

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        kept = [found[nodeid] for nodeid in self._order if nodeid in found]
        left_out = [item for item in items if item not in set(kept)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        missing = [nodeid for nodeid in self._order if nodeid not in found]
        if missing:
            self._telling.notes.append(f"not replayed, for they were not collected: {', '.join(missing)}")
        items[:] = kept
