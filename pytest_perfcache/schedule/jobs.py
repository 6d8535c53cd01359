"""What the scheduler knows about one test: plain values, no pytest item behind them."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

SESSION: Final = "session"
"""The scope every test lies in; a fixture of this scope lives as long as its worker."""


class Order(Enum):
    """What comes first among the tests that must run."""

    AUTO = "auto"
    FASTEST = "fastest"
    FAILED = "failed"
    LONGEST = "longest"
    FILE = "file"
    NONE = "none"


class Claim(NamedTuple):
    """A resource a test needs while it runs.

    `amount=None` claims the whole resource, an integer that many of its capacity; `shared` admits
    other readers. A claim made by a fixture names the fixture as `holder` and the scope it lives in:
    it lasts until the worker's next test lies outside that scope.
    """

    resource: str
    amount: int | None = None
    shared: bool = False
    holder: str = ""
    scope: str = ""


class Setup(NamedTuple):
    """The set-up cost, in seconds, of the shared fixtures a test uses in one scope."""

    scope: str
    seconds: float


class Job(NamedTuple):
    """One test that must run.

    `key` is unique in the run (the node id, unless that occurs twice); `seconds` is the expected
    duration without shared set-up; `scopes` are the collectors it lies in, widest first, beginning
    with `SESSION`; `group` keeps tests on one worker (`xdist_group`); `alone` admits no other test
    at the same time; `failure_rate` is the share of recent runs that failed, 0 to 1.
    """

    key: str
    seconds: float
    file: str = ""
    scopes: tuple[str, ...] = (SESSION,)
    claims: tuple[Claim, ...] = ()
    setups: tuple[Setup, ...] = ()
    group: str = ""
    alone: bool = False
    failed_last: bool = False
    is_new: bool = False
    changed: bool = False
    failure_rate: float = 0.0
