"""The words of the project as frozen records: fact, trace, record, verdict, plan.

Named tuples, because every run imports them: a frozen dataclass takes eight times as long to define.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

Fingerprint: TypeAlias = bytes
"""16 bytes of xxh3-128, see :mod:`pytest_perfcache.facts.digest`."""


class Kind(enum.StrEnum):
    """What a fact speaks of; the part of a fact's key before the first colon."""

    SKELETON = "skeleton"
    BLOCK = "block"
    SOURCE = "source"
    FILE = "file"
    DIRECTORY = "dir"
    GLOB = "glob"
    STAT = "stat"
    ENVIRONMENT = "env"
    ENVIRONMENT_NAMES = "environ"
    DISTRIBUTION = "dist"
    ENTRY_POINTS = "entry"
    IMPORT = "import"
    RUN = "run"
    OPTION = "option"
    INI = "ini"
    PLUGIN = "plugin"
    MACHINE = "machine"


class Fact(NamedTuple):
    """One thing that a result depends on: what it is, and its fingerprint when it was used.

    The fingerprint of the source kinds (skeleton, block, source) is that of the whole file that held them: whether
    the block itself changed is found by comparing that file's content with today's, and only once it differs.
    """

    key: str
    fingerprint: Fingerprint

    @property
    def kind(self) -> Kind:
        return Kind(self.key.partition(":")[0])

    @property
    def name(self) -> str:
        return self.key.partition(":")[2]

    @property
    def place(self) -> tuple[str, str]:
        """Of the source kinds: the file's path, and the qualified name of a block, empty for the others."""
        kind, _, name = self.key.partition(":")
        return split_block(name) if kind == Kind.BLOCK else (name, "")


def block_key(path: str, qualname: str) -> str:
    """The key of a function body: ``block:src/shop/cart.py::Cart.total``."""
    return f"{Kind.BLOCK}:{path}::{qualname}"


def split_block(name: str) -> tuple[str, str]:
    """The path and the qualified name in a block fact's name."""
    path, _, qualname = name.rpartition("::")
    return path, qualname


def defaults_of(qualname: str) -> str:
    """What stands for the default values of a function where its own qualified name stands for its body.

    >>> defaults_of("Cart.total")
    'Cart.total()'
    """
    return f"{qualname}()"


def is_defaults(name: str) -> bool:
    """Whether a name is one that :func:`defaults_of` made."""
    return name.endswith("()")


def enclosing_name(qualname: str) -> str:
    """The named scope around a lambda, comprehension or generator expression.

    >>> enclosing_name("Cart.total.<locals>.<lambda>")
    'Cart.total'
    """
    parts: list[str] = []
    for part in qualname.split("."):
        if part.startswith("<") and part != "<locals>":
            break
        parts.append(part)
    while parts and parts[-1] == "<locals>":
        parts.pop()
    return ".".join(parts)


class Outcome(enum.StrEnum):
    """How a test ended, over all its phases."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    RERUN = "rerun"
    INTERRUPTED = "interrupted"


class Told(NamedTuple):
    """How a test ended that neither plainly passed nor failed, so that a later run can tell it again."""

    outcome: Outcome
    """Skipped, xfailed or xpassed; passed where hooks gave the test marks."""
    reason: str
    when: str
    """The phase that the report is of."""
    where: tuple[str, int] | None = None
    """The file (from the root) and the line that a skip names, from 1; None where it names the test itself."""
    late: str = ""
    """The marks that hooks gave the test after it was collected, as text: it holds only where they do so again."""

    def plain(self) -> list[Any]:
        """As JSON and execnet can carry it."""
        where = None if self.where is None else list(self.where)
        return [str(self.outcome), self.reason, self.when, where, self.late]

    @classmethod
    def restored(cls, plain: Sequence[Any]) -> Told:
        """What :meth:`plain` gave; ValueError or TypeError for anything else."""
        outcome, reason, when, where, late = plain
        if not (isinstance(reason, str) and isinstance(when, str) and isinstance(late, str)):
            raise TypeError(f"{plain!r} is of another type")
        if where is not None:
            path, line = where
            where = (str(path), int(line))
        return cls(Outcome(outcome), reason, when, where, late)


class Trace:
    """The facts of one record: ``shared`` are groups that many records hold as the same objects, ``own`` are the rest.

    What is worked out for a group, by its identity, holds for all of these records. A fact may be in several groups.
    """

    __slots__ = ("own", "shared")

    def __init__(self, own: tuple[Fact, ...], shared: tuple[tuple[Fact, ...], ...] = ()) -> None:
        self.own = own
        self.shared = shared

    @property
    def groups(self) -> tuple[tuple[Fact, ...], ...]:
        """The own facts first: what changed of these tells a person most."""
        return (self.own, *self.shared)

    def __iter__(self) -> Iterator[Fact]:
        return chain.from_iterable(self.groups)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return set(self) == set(other)

    def __hash__(self) -> int:
        return hash(frozenset(self))

    def __repr__(self) -> str:
        return f"Trace({list(self)!r})"


def distinct_groups(traces: Iterable[Trace]) -> list[tuple[Fact, ...]]:
    """The groups of which these consist, each object once."""
    return list({object.__hash__(group): group for trace in traces for group in trace.groups}.values())


class Record(NamedTuple):
    """What one run of a test depended on and how it ended."""

    facts: Trace
    passed: bool
    recorded_at: float
    """Seconds since the epoch."""
    told: Told | None = None
    """How it ended where that was neither a pass nor a failure."""

    @property
    def clean(self) -> bool:
        """Whether it can stand for a run of the test: it passed, or how it ended can be told again."""
        return self.passed or self.told is not None


class History(NamedTuple):
    """What is remembered of one test: its last few distinct records and how it behaved lately."""

    records: tuple[Record, ...] = ()
    duration: float | None = None
    """Seconds for set-up, call and teardown: an exponentially weighted mean in log space."""
    last: Outcome | None = None
    untracked: str = ""
    """Why the last run left no record, in words; empty when it left one."""
    flaky: int = 0
    """Passes in a row that are still owed before this test is cached again."""


_NO_TESTS: Final[Mapping[str, History]] = MappingProxyType({})


class ModuleRecords(NamedTuple):
    """All that is remembered of the tests of one module; the unit that is stored."""

    path: str
    tests: Mapping[str, History] = _NO_TESTS


class Reason(enum.StrEnum):
    """Why a test is a hit or runs. The order is that of the decision table."""

    OFF = "cache off"
    NAMED = "named on the command line"
    LAST_FAILED = "selected by --lf"
    MARKED = "marked as not cacheable"
    NEW = "no record"
    FAILED = "failed last time"
    UNCLEAN = "not a clean pass last time"
    UNTRACKED = "not cacheable"
    FLAKY = "flaky"
    HIT = "unchanged"
    VERIFY = "chosen for verification"
    EXPIRED = "record expired"
    CHANGED = "changed"


class Verdict(NamedTuple):
    """What is decided for one test now."""

    reason: Reason
    detail: str = ""
    duration: float | None = None
    """Expected seconds, where the test has run before."""
    told: Told | None = None
    """What there is to tell of a hit that is not one of a plain pass."""

    @property
    def hit(self) -> bool:
        return self.reason is Reason.HIT

    @property
    def marked_late(self) -> bool:
        """Whether the test ends otherwise than it would without the marks that hooks give it."""
        return self.told is not None and self.told.late != "" and self.told.outcome is not Outcome.PASSED

    def marked_otherwise(self) -> Verdict:
        """The verdict where hooks give the test other marks than it had, or nobody knows which."""
        detail = "the marks that a hook gives it may differ"
        return self._replace(reason=Reason.UNCLEAN, detail=detail, told=None)

    @property
    def outcome(self) -> Outcome:
        """How the test ends if the record that was found for it is right."""
        return Outcome.PASSED if self.told is None else self.told.outcome

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


class TestResult(NamedTuple):
    """How one test ended in this session, for the report and the store."""

    nodeid: str
    outcome: Outcome
    duration: float
    """Seconds for set-up, call and teardown."""
    worker: str | None = None


TestResult.__test__ = False  # type: ignore[attr-defined]  # for pytest: it is no class of tests
