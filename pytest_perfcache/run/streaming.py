"""Records on their way from a worker to the controller: a message for each test, so that a crash loses none of them.

A test's message holds its facts as they were at first use, as numbers; what the numbers mean goes along when they are
new. When the worker ends it looks at everything again and tells what moved. Where it crashed the controller looks.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import pytest

from pytest_perfcache.facts.digest import ABSENT, fingerprint
from pytest_perfcache.facts.distributions import Distributions
from pytest_perfcache.facts.imports import ImportResolver
from pytest_perfcache.facts.stats import StatCache
from pytest_perfcache.facts.world import World
from pytest_perfcache.model import Fact, Fingerprint, History, Kind, ModuleRecords, Outcome, Record, Told, Trace
from pytest_perfcache.run.config import facts_of_run
from pytest_perfcache.run.recording import Run
from pytest_perfcache.run.saving import Harvest
from pytest_perfcache.trace.inputs import Inputs
from pytest_perfcache.trace.tracing import Tracing

RECORDS: Final = "perfcache_records"
"""The channel for records, by this name in the worker's input."""

_NUMBERS: Final = "I"
_OF_CONTROLLER: Final = ("directory", "set of options, ini values and plugins", "PYTHONPATH")


class Sender:
    """In a worker: ``channel`` is execnet's."""

    def __init__(self, config: pytest.Config, tracing: Tracing, channel: Any) -> None:
        self._config = config
        self._tracing = tracing
        self._channel = channel
        self._seen = _Seen(tracing.inputs, tracing.places.root)
        self._told_run = False
        self._harvest: Harvest | None = None
        self._facts: dict[int, int] = {}
        self._groups: dict[int, int] = {}
        self._news: list[list[object]] = []
        self._new_groups: list[bytes] = []

    def add(self, run: Run) -> None:
        """Send what a test left."""
        if not self._told_run:
            self._told_run = True
            facts = facts_of_run(self._config, self._tracing.environ)
            self._channel.send({key: value for key, value in facts.items() if _is_of_host(key)})
        recorded = not run.touched.untracked and run.recorded
        told = None if run.told is None else run.told.plain()
        groups, own = self._trace(run) if recorded else ([], b"")
        test = [run.nodeid, run.path, str(run.outcome), told, run.duration, run.touched.untracked, recorded]
        self._channel.send([*test, groups, own, self._news, self._new_groups])
        self._news, self._new_groups = [], []

    @cached_property
    def distributions(self) -> Distributions:
        """What is installed for this worker, looked at when its first test has run."""
        return Distributions()

    def finish(self) -> None:
        """Send what is not what it was when it was used."""
        if not self._told_run:
            return
        moved = {key: key for key in self._seen.used - self._tracing.inputs.settle().keys()}
        for path in self._harvest.moved if self._harvest is not None else ():
            moved |= {f"{Kind.SKELETON}:{path}": path, f"{Kind.SOURCE}:{path}": path}
        self._channel.send(moved)

    def _trace(self, run: Run) -> tuple[list[int], bytes]:
        if self._harvest is None:
            self._harvest = Harvest(self._tracing, self.distributions, inputs=self._seen)
        shared, own = self._harvest.split(run.touched)
        return [self._group(facts) for facts in shared], self._numbers(own)

    def _group(self, facts: tuple[Fact, ...]) -> int:
        """The number of a tuple which the harvest makes once, and keeps."""
        number = self._groups.get(id(facts))
        if number is None:
            self._new_groups.append(self._numbers(facts))
            number = self._groups[id(facts)] = len(self._groups)
        return number

    def _numbers(self, facts: Iterable[Fact]) -> bytes:
        return array(_NUMBERS, map(self._number, facts)).tobytes()

    def _number(self, fact: Fact) -> int:
        """The number of a fact which the harvest makes once, and keeps."""
        number = self._facts.get(id(fact))
        if number is None:
            self._news.append([fact.key, fact.fingerprint])
            number = self._facts[id(fact)] = len(self._facts)
        return number


class _Seen(Mapping[str, Fingerprint]):
    """Inputs as they were at first use, without another look."""

    def __init__(self, inputs: Inputs, root: Any) -> None:
        self._inputs = inputs
        self._root = root
        self._found: dict[str, Fingerprint] = {}

    @property
    def used(self) -> set[str]:
        return set(self._found)

    def __getitem__(self, key: str) -> Fingerprint:
        if key not in self._found:
            seen = self._inputs.seen(key)
            if seen.fingerprint is not None:
                self._found[key] = seen.fingerprint
            elif seen.signature is None:
                self._found[key] = ABSENT
            else:  # a large file; that it is still the same is asked at the end
                self._found[key] = fingerprint((self._root / key.partition(":")[2]).read_bytes())
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Receiver:
    """On the controller, for one worker: takes messages in execnet's thread, and is read once the worker is gone."""

    def __init__(self) -> None:
        self._messages: list[Any] = []

    def receive(self, message: Any) -> None:
        self._messages.append(message)

    def histories(self, run: Mapping[str, Fingerprint], anew: Callable[[], World]) -> list[ModuleRecords]:
        """What the tests left, by module. ``run``: the facts of the run, as they are for the controller.

        ``anew`` makes a world that nothing was looked at in, for after a crash.
        """
        if not self._messages:
            return []
        host, *messages = self._messages
        unlike = next((key for key in sorted({*filter(_is_of_host, run), *host}) if run.get(key) != host.get(key)), "")
        foreign = f"ran where {unlike.partition(':')[2]} is another one" if unlike else ""
        moved: Mapping[str, str] | None = messages.pop() if messages and isinstance(messages[-1], dict) else None
        now = anew() if moved is None and not foreign else None
        facts: list[Fact] = []
        groups: list[tuple[Fact, ...]] = []
        found: defaultdict[str, dict[str, History]] = defaultdict(dict)
        for nodeid, path, outcome, told, duration, untracked, recorded, used, own, news, new_groups in messages:
            facts += (Fact(key, Fingerprint(value)) for key, value in news)
            groups += (_looked_up(numbers, facts) for numbers in new_groups)
            trace = Trace(_looked_up(own, facts), tuple(groups[group] for group in used))
            history = History(duration=duration, last=Outcome(outcome), untracked=untracked or foreign)
            if recorded and not foreign:
                moved_one = _moved_among(trace, moved or {}, now)
                history = _history(history, trace, moved_one, None if told is None else Told.restored(told))
            found[path][nodeid] = history
        return [ModuleRecords(path, tests) for path, tests in found.items()]


def anew(world: World) -> World:
    """The same world, of which nothing is remembered."""
    return World(
        places=world.places,
        stats=StatCache(world.places.root),
        distributions=Distributions(),
        imports=ImportResolver(world.places),
        run=world.run,
        old_source=world.old_source,
        environ=world.environ,
    )


def _is_of_host(key: str) -> bool:
    """Whether a fact of the run can differ between the processes of one run. A worker's search path does anyway."""
    kind, _, name = key.partition(":")
    return kind == Kind.PLUGIN or (kind == Kind.RUN and name not in _OF_CONTROLLER)


def _looked_up(numbers: bytes, facts: list[Fact]) -> tuple[Fact, ...]:
    found = array(_NUMBERS)
    found.frombytes(numbers)
    return tuple(facts[number] for number in found)


def _moved_among(trace: Iterable[Fact], moved: Mapping[str, str], now: World | None) -> str:
    """The first thing that is not what it was when it was used; empty where all is."""
    if now is not None:
        return next((fact.key for fact in trace if now.fingerprint(fact.key) != fact.fingerprint), "")
    return next((moved[fact.key] for fact in trace if fact.key in moved), "") if moved else ""


def _history(known: History, trace: Trace, moved: str, told: Told | None) -> History:
    if moved:
        return known._replace(untracked=f"{moved} changed while the tests ran")
    return known._replace(records=(Record(trace, known.last is Outcome.PASSED, time.time(), told),))
