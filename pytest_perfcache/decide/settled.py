"""Modules that are settled: states of the world in which every test of a module is known to be a hit.

A *state* is what a whole module's records and its collection came down to when they were last looked at: a list of
facts, of whole files rather than of blocks. While all of them hold, the verdict of each test and the list of the tests
can only be what they were, so neither the records nor the module itself need to be looked at. The cost of asking
grows with the number of distinct facts, and of modules, but not with tests times facts. A state in which nothing but
contents of source files differs may be *upheld*: by the blocks that the tests and their collection stand on.

What a selection (``-k``, ``-m``, ``--deselect``) took away is not known of; a state without these tests holds for the
same selection only.

Encoded (version 5): the magic, then with zlib: the length of the head (8 bytes, little endian), the head (JSON with
the facts' keys and a row for each state), the facts' fingerprints (16 bytes each), and for each state a bit mask of
its facts (as many bytes as the facts need, little endian) and the fingerprints of its list of tests and of the entry
that says what these stand on.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact, Fingerprint, Kind, split_block

if TYPE_CHECKING:
    from pytest_perfcache.decide.collected import Collected

KEPT: Final = 4
"""States by module: enough to go to another branch and back."""

DIFFERS: Final = -1
_MAGIC: Final = b"settled5\n"
_PRINT: Final = 16
_NOTHING: Final[Mapping[str, Sequence[Any]]] = MappingProxyType({})
_CONTENT: Final = f"{Kind.SOURCE}:"
_SKELETON: Final = f"{Kind.SKELETON}:"
_BLOCK: Final = f"{Kind.BLOCK}:"


class State(NamedTuple):
    """One state of one module.

    ``items``: fingerprint of the list of its tests; ``collected``: of the entry that says what these and the list
    stand on, block by block.
    """

    facts: int
    """Bit mask of the facts' numbers."""
    tests: int
    seconds: float
    """Expected duration of all tests together."""
    oldest: float
    """When the oldest of the records was made, in seconds since the epoch."""
    items: Fingerprint
    entry: str | None
    """What the module's import puts on ``sys.path``, from the root."""
    agreed: int
    """How many collections have found just these tests, while these facts held; :data:`DIFFERS` where one did not."""
    selection: Fingerprint
    """What was selected in the run that made it."""
    left_out: int
    """How many tests that selection took away, besides ``tests``."""
    collected: Fingerprint
    told: Mapping[str, Sequence[Any]] = _NOTHING
    """By node id: what is to be told, as JSON, of the tests that did not pass, as skips and expected failures."""

    def stands_for(self, selection: Fingerprint) -> bool:
        """Whether all tests that are selected so are known to be hits."""
        return not self.left_out or self.selection == selection

    @property
    def predictable(self) -> bool:
        return self.agreed > 0


class Findings(NamedTuple):
    """What a run found out about a module whose tests all passed or were hits. ``facts``: by key, of whole files."""

    path: str
    facts: Mapping[str, Fingerprint]
    state: State
    """What is to be entered; the table sets its own numbers of facts, and how many collections agreed."""
    doubtful: bool
    """Whether names of tests are computed: these must be found twice before they are believed."""


class Upheld(NamedTuple):
    """A module that stands although files were edited that it touches."""

    state: State
    collected: Collected
    facts: Mapping[str, Fingerprint] | None
    """The facts of the state, with the contents of now, by key; None where only the records tell what still holds."""


def whole_files(facts: Iterable[Fact]) -> set[Fact]:
    """The facts with those of blocks and skeletons put as facts of their files."""
    sources: set[tuple[str, Fingerprint]] = set()
    found: set[Fact] = set()
    for fact in facts:
        key, value = fact
        if key.startswith(_BLOCK):
            sources.add((split_block(key.removeprefix(_BLOCK))[0], value))
        elif key.startswith(_SKELETON):
            sources.add((key.removeprefix(_SKELETON), value))
        else:
            found.add(fact)
    return found.union(Fact(f"{_CONTENT}{path}", value) for path, value in sources)


class Settled:
    """The states of all modules, the newest first, over one table of facts."""

    def __init__(self, facts: Iterable[Fact] = (), states: Mapping[str, tuple[State, ...]] | None = None) -> None:
        self.facts = list(facts)
        self.states = dict(states or {})
        self._numbers: dict[Fact, int] = {}

    def untrue(self, now: Callable[[str], Fingerprint]) -> int:
        """Bit mask of the facts that do not hold. ``now``: a fact's fingerprint at present, by key."""
        known = cache(now)
        return self._mask_where(lambda fact: known(fact.key) != fact.fingerprint)

    def standing(self, untrue: int, earliest: float, selection: Fingerprint) -> dict[str, State]:
        """The modules of which a predictable state holds, with records no older than ``earliest``."""
        found: dict[str, State] = {}
        for path, states in self.states.items():
            for state in states:
                if not state.facts & untrue and state.stands_for(selection):
                    if state.predictable and state.oldest >= earliest:
                        found[path] = state
                    break
        return found

    def shaken(self, untrue: int, earliest: float, selection: Fingerprint) -> dict[str, list[State]]:
        """The modules of which no state holds, with the predictable ones of which only contents of files differ."""
        asked = {path: [state for state in found if state.stands_for(selection)] for path, found in self.states.items()}
        fallen = {path: states for path, states in asked.items() if all(state.facts & untrue for state in states)}
        if not fallen:
            return {}
        other = untrue & ~self._mask_where(lambda fact: fact.key.startswith(_CONTENT))
        shaken = {
            path: [
                state for state in states if state.predictable and state.oldest >= earliest and not state.facts & other
            ]
            for path, states in fallen.items()
        }
        return {path: states for path, states in shaken.items() if states}

    def _mask_where(self, wanted: Callable[[Fact], bool]) -> int:
        """Bit mask of the facts of which this is true."""
        found = bytearray(len(self.facts) // 8 + 1)
        for number, fact in enumerate(self.facts):
            if wanted(fact):
                found[number >> 3] |= 1 << (number & 7)
        return int.from_bytes(found, "little")

    def differing(self, state: State, untrue: int) -> Iterator[str]:
        """The keys of its facts that do not hold."""
        return (self.facts[number].key for number in bits(state.facts & untrue))

    def facts_of(self, state: State) -> dict[str, Fingerprint]:
        """By key."""
        return dict(map(self.facts.__getitem__, bits(state.facts)))

    def add(self, found: Findings, untrue: int) -> None:
        """Enter a state of the world as it is, before the others of its module. ``untrue``: see :meth:`untrue`.

        A state that holds too says the same of this world, though what ran then may have touched more or less.
        """
        entered = found.state._replace(facts=self._mask(found.facts))
        others = self.states.get(found.path, ())
        standing = (state for state in others if not state.facts & untrue)
        same = next((state for state in standing if state.stands_for(entered.selection)), None)
        agreed = 0 if found.doubtful else 1
        if same is not None:
            agreed = same.agreed + 1 if same.items == entered.items and same.agreed != DIFFERS else DIFFERS
            if same.left_out < entered.left_out:
                entered = same
        newest = entered._replace(agreed=agreed)
        self.states[found.path] = (newest, *(other for other in others if other is not same))[:KEPT]

    def drop(self, path: str) -> None:
        """Forget a module: not all of its tests can be hits."""
        self.states.pop(path, None)

    def _mask(self, facts: Mapping[str, Fingerprint]) -> int:
        if len(self._numbers) != len(self.facts):
            self._numbers = {fact: number for number, fact in enumerate(self.facts)}
        mask = 0
        for key, value in facts.items():
            fact = Fact(key, value)
            number = self._numbers.get(fact)
            if number is None:
                number = self._numbers[fact] = len(self.facts)
                self.facts.append(fact)
            mask |= 1 << number
        return mask

    def compacted(self) -> Settled:
        """The same with only the facts that some state needs; itself where few are not."""
        used = 0
        for states in self.states.values():
            for state in states:
                used |= state.facts
        if used.bit_count() * 2 >= len(self.facts):
            return self
        fresh = Settled()
        for path, states in self.states.items():
            fresh.states[path] = tuple(state._replace(facts=fresh._mask(self.facts_of(state))) for state in states)
        return fresh

    def to_bytes(self) -> bytes:
        table = self.compacted()
        width = (len(table.facts) + 7) // 8
        rows: list[list[Any]] = []
        tail: list[bytes] = [fact.fingerprint for fact in table.facts]
        for path, states in table.states.items():
            for state in states:
                row = [path, state.tests, state.seconds, state.oldest, state.entry, state.agreed]
                rows.append([*row, state.selection.hex(), state.left_out, dict(state.told)])
                tail += (state.facts.to_bytes(width, "little"), state.items, state.collected)
        head = json.dumps([[fact.key for fact in table.facts], rows], separators=(",", ":")).encode()
        return _MAGIC + zlib.compress(b"".join((len(head).to_bytes(8, "little"), head, *tail)), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Settled:
        """What :meth:`to_bytes` wrote; :class:`CodecError` for anything else."""
        if not data.startswith(_MAGIC):
            raise CodecError("not a table of settled modules, or of another version")
        try:
            return _read(zlib.decompress(memoryview(data)[len(_MAGIC) :]))
        except (ValueError, TypeError, IndexError, RecursionError, zlib.error) as error:
            raise CodecError(f"damaged table of settled modules: {error}") from error


def bits(mask: int) -> Iterator[int]:
    """The numbers of the set bits, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _read(data: bytes) -> Settled:
    end = 8 + int.from_bytes(data[:8], "little")
    keys, rows = json.loads(data[8:end])
    width, start = (len(keys) + 7) // 8, end + _PRINT * len(keys)
    if len(data) != start + len(rows) * (width + 2 * _PRINT):
        raise ValueError("its length is not what its head says")
    facts = [Fact(str(key), data[at : at + _PRINT]) for key, at in zip(keys, range(end, start, _PRINT), strict=True)]
    states: dict[str, list[State]] = {}
    for path, tests, seconds, oldest, entry, agreed, selection, left_out, told in rows:
        middle = start + width
        state = State(
            int.from_bytes(data[start:middle], "little"),
            int(tests),
            float(seconds),
            float(oldest),
            data[middle : middle + _PRINT],
            None if entry is None else str(entry),
            int(agreed),
            Fingerprint(bytes.fromhex(selection)),
            int(left_out),
            data[middle + _PRINT : middle + 2 * _PRINT],
            dict(told),
        )
        states.setdefault(str(path), []).append(state)
        start = middle + 2 * _PRINT
    return Settled(facts, {path: tuple(found) for path, found in states.items()})
