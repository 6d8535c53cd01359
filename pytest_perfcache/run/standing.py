"""Which modules need not be collected is asked before collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_perfcache.collect.known import NOTHING, Known, Retold, Unneeded
from pytest_perfcache.decide.settled import Settled, State
from pytest_perfcache.decide.verify import FRESH_SHARE
from pytest_perfcache.run.circumstances import Circumstances
from pytest_perfcache.run.config import settings_of
from pytest_perfcache.run.garbage import undisturbed
from pytest_perfcache.run.memory import Memory
from pytest_perfcache.run.planning import Upheld
from pytest_perfcache.run.settling import (
    chosen_by,
    collected_key,
    read_collected,
    read_table,
    sketch_key,
    untrue_facts,
)

if TYPE_CHECKING:
    from pytest_perfcache.decide.collected import Collected


@undisturbed()
def known_modules(memory: Memory, config: pytest.Config, circumstances: Circumstances) -> Known:
    """Those of which a known state holds; none where this run wants its tests for another reason than a change."""
    if circumstances.off or circumstances.last_failed or circumstances.verify or _wants_all(config):
        return NOTHING
    store = memory.store
    table, chosen = read_table(store), chosen_by(config)
    untrue = untrue_facts(table, memory.world, chosen)
    earliest = circumstances.now - FRESH_SHARE * circumstances.ttl
    states = table.standing(untrue, earliest, chosen.selection)
    shaken = table.shaken(untrue, earliest, chosen.selection)
    for name in circumstances.named:
        path = name.partition("::")[0]
        states.pop(path, None)
        shaken.pop(path, None)
    upheld = memory.planner.upheld = dict(_Upholder(memory, circumstances, table, untrue).uphold(shaken))
    states |= {path: state for path, (state, _) in upheld.items()}
    modules = {
        path: Unneeded(
            state.entry,
            state.tests,
            state.seconds,
            state.left_out,
            as_selected=state.selection == chosen.selection,
            told=state.told,
        )
        for path, state in states.items()
    }
    return Known(modules, lambda path: store.get(sketch_key(states[path].items)))


def _wants_all(config: pytest.Config) -> bool:
    """Whether the real tests are needed: to show their fixtures, or to part them by what they share."""
    names = ("showfixtures", "show_fixtures_per_test")
    return settings_of(config).shard is not None or any(getattr(config.option, name, False) for name in names)


class _Upholder(NamedTuple):
    """Finds modules that stand although files were edited that they touch: by the blocks that changed in these.

    The list of the tests has to stand on nothing that changed at all, not even on what only appeared, since it may be
    a test; and each of the tests has to be a hit.
    """

    memory: Memory
    circumstances: Circumstances
    table: Settled
    untrue: int

    def uphold(self, candidates: Mapping[str, list[State]]) -> Iterator[tuple[str, Upheld]]:
        """``candidates``: of each module, states of which nothing differs but contents of source files."""
        keys = {collected_key(state.collected) for states in candidates.values() for state in states}
        found = self.memory.store.get_many(sorted(keys))
        likely: dict[str, Upheld] = {}
        for path, states in candidates.items():
            for state in states:
                collected = read_collected(found.get(collected_key(state.collected)))
                if collected is not None and self._is_the_same(state, collected):
                    likely[path] = (state, collected)
                    break
        self.memory.planner.load(likely)
        return ((path, upheld) for path, upheld in likely.items() if self._are_hits(path, *upheld))

    def _is_the_same(self, state: State, collected: Collected) -> bool:
        """Whether the module would be collected as it was."""
        differing = {key.partition(":")[2] for key in self.table.differing(state, self.untrue)}
        return differing.isdisjoint(collected.located) and self.memory.world.holds(collected.facts)

    def _are_hits(self, path: str, state: State, collected: Collected) -> bool:
        told = {nodeid: Retold.restored(row).told for nodeid, row in state.told.items()}
        for name in collected.tests:
            nodeid = f"{path}{name}"
            verdict = self.memory.planner.decide(path, nodeid, self.circumstances.conditions(nodeid))
            if not verdict.hit or verdict.told != told.get(nodeid):
                return False
        return True
