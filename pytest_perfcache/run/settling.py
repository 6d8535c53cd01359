"""Which modules are settled is learnt at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from pytest_perfcache.collect.known import Retold
from pytest_perfcache.collect.sketch import ItemSketch, Sketch
from pytest_perfcache.decide.settled import DIFFERS, Findings, Settled, State, Upheld, whole_files
from pytest_perfcache.errors import CodecError
from pytest_perfcache.facts.digest import ABSENT, fingerprint, fingerprint_text
from pytest_perfcache.facts.places import Places
from pytest_perfcache.facts.world import World
from pytest_perfcache.model import (
    Fact,
    Fingerprint,
    History,
    Kind,
    ModuleRecords,
    Record,
    Told,
    Trace,
    Verdict,
    distinct_groups,
)
from pytest_perfcache.run.collecting import SELECTING
from pytest_perfcache.run.config import named_paths
from pytest_perfcache.run.planning import Planner
from pytest_perfcache.store.protocol import Store
from pytest_perfcache.store.records import decode, encode

if TYPE_CHECKING:
    from pytest_perfcache.decide.collected import Collected
    from pytest_perfcache.run.lists import Lists

_TABLE: Final = "settled"
_SKETCHES: Final = "sketches/"
_CONTENT: Final = f"{Kind.SOURCE}:"
_COLLECTING: Final = f"{Kind.RUN}:what is collected"
_NAMED: Final = f"{Kind.RUN}:named "
"""With a file's path: whether it stands on the command line. Pytest then takes it, whatever conftest files ignore."""
_YES, _NO = (fingerprint_text(answer) for answer in ("yes", "no"))
_INI: Final = ("python_files", "python_classes", "python_functions", "collect_imported_tests")


class Collection(NamedTuple):
    """A module as it was collected: what that depended on, and which tests it found."""

    path: str
    facts: tuple[Fact, ...]
    nodeids: tuple[str, ...]
    sketch: bytes
    entry: str | None
    parametrized: bool
    left_out: tuple[str, ...]
    """Node ids that the selection took away."""
    located: tuple[str, ...]
    """Paths of the files in which its tests are defined."""
    made_at: float
    """Seconds since the epoch."""
    named: bool = False
    """Whether the file itself was asked for, and not found in a directory."""
    skipped: Told | None = None
    """What is told of the module itself where it is skipped as a whole."""

    def pack(self) -> list[Any]:
        """As execnet can carry it."""
        record = Record(Trace(self.facts), passed=True, recorded_at=0.0)
        facts = encode(ModuleRecords(self.path, {"": History(records=(record,))}))
        skipped = None if self.skipped is None else self.skipped.plain()
        tests = [list(self.nodeids), self.sketch, self.entry, self.parametrized, list(self.left_out)]
        return [facts, *tests, list(self.located), self.made_at, self.named, skipped]

    @property
    def selected(self) -> list[str]:
        """Node ids of the tests that the selection left."""
        left_out = set(self.left_out)
        return [nodeid for nodeid in self.nodeids if nodeid not in left_out]

    def collected(self, standing: Iterable[Fact]) -> Collected:
        """What is to be known before it is collected again. ``standing``: what its tests depend on."""
        from pytest_perfcache.decide.collected import Collected  # an unchanged run needs none

        tests = (nodeid.removeprefix(self.path) for nodeid in self.selected)
        skipped = (self.skipped.where[0],) if self.skipped is not None and self.skipped.where is not None else ()
        return Collected.of(self.facts, standing, tests, sorted({self.path, *self.located, *skipped}))

    @classmethod
    def unpack(cls, packed: list[Any]) -> Collection:
        """Raises :class:`CodecError` for anything that :meth:`pack` did not make."""
        try:
            facts, nodeids, sketch, entry, parametrized, left_out, located, made_at, named, skipped = packed
            module = decode(facts)
            found = tuple(module.tests[""].records[0].facts)
            told = None if skipped is None else Told.restored(skipped)
            tests = (tuple(nodeids), sketch, entry, parametrized, tuple(left_out), tuple(located))
            return cls(module.path, found, *tests, made_at, named, told)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise CodecError(f"damaged collection: {error}") from error


class Chosen(NamedTuple):
    """What decides which tests there are and which of them run, and says nothing about any of them."""

    tests: Fingerprint
    """Settings that tell tests from other functions."""
    selection: Fingerprint
    """Options that take tests away."""
    named: frozenset[str]
    """Paths on the command line, from the root."""

    def fingerprint(self, key: str) -> Fingerprint | None:
        """Of a fact of what is asked for; None of any other."""
        if key.startswith(_NAMED):
            return _YES if key.removeprefix(_NAMED) in self.named else _NO
        return self.tests if key == _COLLECTING else None


def read_table(store: Store) -> Settled:
    """The states that are known, not to be changed; none where they can not be read."""
    return _restored(store.get(_TABLE))


@lru_cache(maxsize=1)  # a run asks before conftest files are loaded, and when it collects
def _restored(data: bytes | None) -> Settled:
    try:
        return Settled() if data is None else Settled.from_bytes(data)
    except CodecError:
        return Settled()


def untrue_facts(table: Settled, world: World, chosen: Chosen) -> int:
    """The facts of the table that do not hold now."""
    return table.untrue(lambda key: chosen.fingerprint(key) or world.fingerprint(key))


def settle(
    planner: Planner,
    store: Store,
    world: World,
    *,
    collections: Iterable[Collection],
    learnt: Mapping[str, Mapping[str, History]],
    ran: Iterable[ModuleRecords],
    verdicts: Mapping[str, Verdict],
    chosen: Chosen,
) -> None:
    """Enter the modules of which all tests passed or were hits; forget those that hold a test which may not be one.

    ``learnt``: the histories as they are now, by module and node id; ``ran``: those of this run alone. To be called
    within a transaction of the store.
    """
    known = read_table(store)
    table = Settled(known.facts, known.states)
    before = known.states
    untrue = untrue_facts(table, world, chosen)
    for path, histories in learnt.items():
        if any(history.untracked or history.flaky for history in histories.values()):
            table.drop(path)
    fresh = {nodeid: history for module in ran for nodeid, history in module.tests.items()}
    settler = _Settler(planner, world, learnt, fresh, verdicts, chosen)
    again = (settler.find_again(path, upheld) for path, upheld in planner.upheld.items())
    found = [one for one in (*again, *map(settler.find, collections)) if one is not None]
    added = _enter(table, untrue, found, store, world)
    if table.states != before:
        store.set_many({**added, _TABLE: table.to_bytes()})


class _Found(NamedTuple):
    """What is to be entered of a module."""

    findings: Findings
    """Where ``collected`` is given, the entry that their state names is yet to be made."""
    collected: Collected | None
    """What its state is to name; None where what it names stands."""
    sketch: bytes | None = None
    """The list of its tests, where that was made anew."""


def _enter(table: Settled, untrue: int, found: Sequence[_Found], store: Store, world: World) -> dict[str, bytes]:
    """What is to be stored besides the table."""
    from pytest_perfcache.run.lists import Lists, packed  # an unchanged run needs none

    lists = Lists(store)
    run, added = packed({one.findings.path: one.collected for one in found if one.collected is not None})
    for findings, collected, sketch in found:
        if collected is None:
            table.add(findings, untrue)
            continue
        doubtful = findings.doubtful and not _is_confirmed(
            findings, collected, table.states.get(findings.path, ()), lists, world
        )
        state = findings.state._replace(collected=run)
        table.add(findings._replace(state=state, doubtful=doubtful), untrue)
        if sketch is not None:
            added[sketch_key(state.items)] = sketch
    return added


def _is_confirmed(
    findings: Findings, collected: Collected, states: Iterable[State], lists: Lists, world: World
) -> bool:
    """Whether just these tests were found before, and no others, in states of which all holds that the list stands on.

    Otherwise an edit of a file would have computed names found twice again.
    """
    confirmed, now = False, findings.state
    for state in states:
        known = lists.of(findings.path, state)
        if known is None or state.left_out != now.left_out or not world.holds(known.list_facts):
            continue
        same = state.items == now.items if state.left_out else known.tests == collected.tests
        if not same or state.agreed == DIFFERS:
            return False
        confirmed = True
    return confirmed


class _Settler(NamedTuple):
    planner: Planner
    world: World
    learnt: Mapping[str, Mapping[str, History]]
    fresh: Mapping[str, History]
    verdicts: Mapping[str, Verdict]
    chosen: Chosen

    def find(self, collection: Collection) -> _Found | None:
        """What is known of the module now; None where not every test is sure to be a hit."""
        path, selected = collection.path, collection.selected
        recorded: list[Trace] = [Trace(collection.facts)]
        standing: list[Trace] = []
        told: dict[str, Told] = {}
        seconds, oldest = 0.0, collection.made_at
        for nodeid in selected:
            fresh = self.fresh.get(nodeid)
            record = self._standing(path, nodeid) if fresh is None else self._recorded(path, nodeid, fresh)
            if record is None:
                return None
            (standing if fresh is None else recorded).append(record.facts)
            if record.told is not None:
                told[nodeid] = record.told
            seconds += self._seconds(path, nodeid)
            oldest = min(oldest, record.recorded_at)
        ran, held = _facts_of(recorded), _facts_of(standing)
        facts = self._join(path, ran, held, named=collection.named)
        if facts is None:
            return None
        state = State(
            facts=0,
            tests=len(selected),
            seconds=seconds,
            oldest=oldest,
            items=fingerprint(collection.sketch),
            entry=collection.entry,
            agreed=0,
            selection=self.chosen.selection,
            left_out=len(collection.left_out),
            collected=ABSENT,
            told={row.nodeid: row.plain() for row in _retold(collection, told)},
        )
        findings = Findings(path, facts, state, doubtful=collection.parametrized)
        return _Found(findings, collection.collected(ran | held), collection.sketch)

    def find_again(self, path: str, upheld: Upheld) -> _Found | None:
        """The same of a module that was not collected, since nothing that its state stands on changed in fact."""
        state, collected, facts = upheld
        if facts is not None:
            return _Found(Findings(path, facts, state, doubtful=False), None)
        records = [self.planner.matching(path, f"{path}{name}") for name in collected.tests]
        standing = [record for record in records if record is not None]
        if len(standing) < len(records):
            return None
        held = _facts_of(record.facts for record in standing).union(collected.list_facts)
        joined = self._join(path, (), held, named=path in self.chosen.named)
        if joined is None:
            return None
        # The records that hold may be others than those that the state was made of.
        state = state._replace(oldest=min([state.oldest, *(record.recorded_at for record in standing)]))
        findings = Findings(path, joined, state, doubtful=False)
        return _Found(findings, collected.with_tests_on(held))

    def _join(
        self, path: str, ran: Iterable[Fact], held: Iterable[Fact], *, named: bool
    ) -> dict[str, Fingerprint] | None:
        """What a state depends on. ``ran``: what this run found; ``held``: what was known before, and holds."""
        asked = [Fact(_NAMED + path, _YES)] if named else []
        holding = self._as_now(whole_files(held))
        return _joined((*whole_files(ran), *holding, *self._of_the_run(), *asked))

    def _recorded(self, path: str, nodeid: str, history: History) -> Record | None:
        known = self.learnt.get(path, {}).get(nodeid)
        clean = known is not None and not known.untracked and not known.flaky
        return next((record for record in history.records if record.clean), None) if clean else None

    def _standing(self, path: str, nodeid: str) -> Record | None:
        verdict = self.verdicts.get(nodeid)
        return self.planner.matching(path, nodeid) if verdict is not None and verdict.hit else None

    def _seconds(self, path: str, nodeid: str) -> float:
        history = self.learnt.get(path, {}).get(nodeid) or self.planner.history(path, nodeid)
        return (history.duration if history is not None else None) or 0.0

    def _as_now(self, facts: Iterable[Fact]) -> Iterator[Fact]:
        """What was found to hold, with the contents that the files have now."""
        for fact in facts:
            yield Fact(fact.key, self.world.fingerprint(fact.key)) if fact.key.startswith(_CONTENT) else fact

    def _of_the_run(self) -> Iterator[Fact]:
        for key, value in self.world.run.items():
            yield Fact(key, value)
        yield Fact(_COLLECTING, self.chosen.tests)


def _retold(collection: Collection, told: Mapping[str, Told]) -> Iterator[Retold]:
    """What a report of these tests needs, when there is no test to ask."""
    if collection.skipped is not None:
        yield Retold(collection.path, (collection.path, None, ""), (), collection.skipped)
    if told:
        sketch = Sketch.from_bytes(collection.sketch)
        for nodeid, item in zip(collection.nodeids, sketch.items, strict=True):
            if nodeid in told:
                yield Retold(nodeid, (item.path, item.line, item.domain), _words(sketch, item), told[nodeid])


def _words(sketch: Sketch, item: ItemSketch) -> tuple[str, ...]:
    """By these keywords, pytest tells a skip of one test from that of a whole module or class."""
    marks, parent = [*item.marks, *sketch.own], item.parent
    while parent >= 0:
        marks += sketch.classes[parent].marks
        parent = sketch.classes[parent].parent
    found = {*item.attributes, *(sketch.marks[number].name for number in marks)}
    return tuple(word for word in ("skip", "pytestmark") if word in found)


def _facts_of(traces: Iterable[Trace]) -> set[Fact]:
    return set[Fact]().union(*distinct_groups(traces))


def _joined(facts: Iterable[Fact]) -> dict[str, Fingerprint] | None:
    """By key; None where two contradict each other."""
    found: dict[str, Fingerprint] = {}
    for key, value in facts:
        if found.setdefault(key, value) != value:
            return None
    return found


def sketch_key(items: Fingerprint) -> str:
    """Where the list of a module's tests is kept."""
    return f"{_SKETCHES}{items.hex()}"


def chosen_by(config: pytest.Config) -> Chosen:
    """What this run asks for."""
    selection = [getattr(config.option, name, None) or None for name in SELECTING]
    return Chosen(
        fingerprint_text(f"{[*_ini(config)]} {config.getoption('keepduplicates')}"),
        fingerprint_text(f"{selection}"),
        frozenset(named_paths(config, Places.of(config.rootpath))),
    )


def _ini(config: pytest.Config) -> Iterator[tuple[str, object]]:
    for name in _INI:
        try:
            yield name, config.getini(name)
        except (KeyError, ValueError):
            continue  # an older pytest does not have it
