"""Which modules need not be collected is asked before collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_perfcache.collect.known import NOTHING, Known, Retold, Unneeded
from pytest_perfcache.decide.settled import Settled, State, Upheld
from pytest_perfcache.decide.verify import FRESH_SHARE
from pytest_perfcache.run.circumstances import Circumstances
from pytest_perfcache.run.config import settings_of
from pytest_perfcache.run.garbage import undisturbed
from pytest_perfcache.run.memory import Memory
from pytest_perfcache.run.settling import chosen_by, read_table, sketch_key, untrue_facts

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
    states |= {path: found.state for path, found in upheld.items()}
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
    a test. Nor have the tests, as a rule; where they do, their records tell whether each of them is a hit all the same.
    """

    memory: Memory
    circumstances: Circumstances
    table: Settled
    untrue: int

    def uphold(self, candidates: Mapping[str, list[State]]) -> Iterator[tuple[str, Upheld]]:
        """``candidates``: of each module, states of which nothing differs but contents of source files."""
        if not candidates:
            return
        from pytest_perfcache.run.lists import Lists

        lists = Lists(self.memory.store)
        lists.load(state for states in candidates.values() for state in states)
        likely: dict[str, Upheld] = {}
        for path, states in candidates.items():
            for state in states:
                collected = lists.of(path, state)
                found = None if collected is None else self._held(state, collected)
                if found is not None:
                    likely[path] = found
                    break
        self.memory.planner.load(path for path, found in likely.items() if found.facts is None)
        for path, found in likely.items():
            if found.facts is not None or self._are_hits(path, found):
                yield path, found

    def _held(self, state: State, collected: Collected) -> Upheld | None:
        """None where the module would not be collected as it was."""
        from pytest_perfcache.decide.collected import facts_of  # an unchanged run needs none

        world = self.memory.world
        keys = list(self.table.differing(state, self.untrue))
        changed = {key.partition(":")[2] for key in keys}
        if not changed.isdisjoint(collected.located) or not world.holds(facts_of(collected.listed, changed)):
            return None
        facts = None
        if world.holds(facts_of(collected.standing, changed)):
            facts = self.table.facts_of(state) | {key: world.fingerprint(key) for key in keys}
        return Upheld(state, collected, facts)

    def _are_hits(self, path: str, found: Upheld) -> bool:
        told = {nodeid: Retold.restored(row).told for nodeid, row in found.state.told.items()}
        for name in found.collected.tests:
            nodeid = f"{path}{name}"
            verdict = self.memory.planner.decide(path, nodeid, self.circumstances.conditions(nodeid))
            if not verdict.hit or verdict.told != told.get(nodeid):
                return False
        return True
