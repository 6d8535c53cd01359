"""All settings as one frozen record: command line over environment over ini over defaults."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_perfcache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_SPANS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_QUANTITY: Final = r"(?i)\s*([0-9]{1,15}(?:\.[0-9]+)?)\s*([a-z]*)\s*"
"""Patterns are compiled when they are used: most runs use none."""
_COUNT: Final = r"\s*[0-9]{1,15}\s*"
_TRUE: Final = frozenset(("1", "true", "yes", "on"))
_FALSE: Final = frozenset(("0", "false", "no", "off", ""))
ORDERS: Final = ("auto", "fastest", "failed", "longest", "file", "none")
_CAPACITY: Final = r"\s*([^=\s][^=]*?)\s*=\s*([0-9]{1,6})\s*"
_WORKER: Final = r"[\w.:@-]+"
_SHARD: Final = r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*"


class Shard(NamedTuple):
    """Part ``number`` of ``total``, counted from 1."""

    number: int
    total: int


def parse_bool(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in _TRUE | _FALSE:
        return lowered in _TRUE
    raise ValueError("takes true or false")


def parse_size(text: str) -> int:
    """Bytes from a text such as ``500 MB`` or ``1GiB``."""
    return int(_quantity(text, _UNITS, "takes a size such as 500MB or 1GiB"))


def parse_span(text: str) -> float:
    """Seconds from a text such as ``7d``, ``12h`` or ``90s``."""
    return _quantity(text, _SPANS, "takes a span of time such as 7d, 12h or 90s")


def parse_count(text: str) -> int:
    if not re.fullmatch(_COUNT, text):
        raise ValueError("takes a whole number, 0 or more")
    return int(text)


def parse_order(text: str) -> str:
    if text not in ORDERS:
        raise ValueError(f"takes one of {', '.join(ORDERS)}")
    return text


def parse_share(text: str) -> float:
    """Between 0 and 1, from a text such as ``5%`` or ``0.05``."""
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if rest or not 0 <= share <= 1:
        raise ValueError("takes a share such as 5% or 0.05")
    return share


def parse_resources(text: str) -> Mapping[str, int]:
    """Capacities by name from lines, or parts between commas, such as ``gpu=2``."""
    found = {}
    for part in filter(str.strip, re.split(r"[,\n]", text)):
        match = re.fullmatch(_CAPACITY, part)
        if match is None or int(match[2]) == 0:
            raise ValueError("takes NAME=CAPACITY, such as gpu=2, one a line or with commas between them")
        found[match[1]] = int(match[2])
    return found


def parse_parallel(text: str) -> str:
    """Which tests run side by side: ``all``, or those ``marked`` parallel_safe."""
    if text not in ("all", "marked"):
        raise ValueError("takes all or marked")
    return text


def parse_shard(text: str) -> Shard:
    match = re.fullmatch(_SHARD, text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError("takes I/N with 1 <= I <= N, such as 2/5")
    return Shard(int(match[1]), int(match[2]))


def parse_worker(text: str) -> str:
    if not re.fullmatch(_WORKER, text):
        raise ValueError("takes the name of a worker, such as gw0")
    return text


def parse_report(text: str) -> tuple[str, str]:
    """Format and path from ``json:PATH``."""
    form, colon, path = text.partition(":")
    if form != "json" or not colon or not path:
        raise ValueError("takes json:PATH")
    return form, path


def _quantity(text: str, units: Mapping[str, int], expected: str) -> float:
    match = re.fullmatch(_QUANTITY, text)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(expected)
    return float(match[1]) * factor


class Option(NamedTuple):
    """One setting and every way to give it. ``flag`` is the command line's; ini and environment follow the name.

    ``switch`` options take no value on the command line and set ``on``.
    """

    name: str
    flag: str
    help: str
    default: Any
    parse: Callable[[str], Any]
    metavar: str = ""
    switch: bool = False
    on: str = "true"
    persistent: bool = True
    """Whether it can also be given by environment and ini; the others ask for one run's output."""

    @property
    def dest(self) -> str:
        return f"perfcache_{self.name}"

    @property
    def variable(self) -> str:
        return self.dest.upper()


OPTIONS: Final = (
    Option(
        "enabled",
        "--no-perfcache",
        "Turn pytest-perfcache off for this run.",
        True,
        parse_bool,
        switch=True,
        on="false",
    ),
    Option(
        "dir",
        "--perfcache-dir",
        "Where records are kept, relative to the root directory.",
        ".perfcache",
        str,
        "DIR",
    ),
    Option(
        "ttl",
        "--perfcache-ttl",
        "How long a record stays good before its test runs again, a quarter more or less.",
        604_800.0,
        parse_span,
        "SPAN",
    ),
    Option(
        "size_limit",
        "--perfcache-size-limit",
        "How large the store may grow; what was used least recently goes.",
        500_000_000,
        parse_size,
        "SIZE",
    ),
    Option(
        "flaky_passes",
        "--perfcache-flaky-passes",
        "Passes in a row that a flaky test owes before it is cached again.",
        3,
        parse_count,
        "N",
    ),
    Option(
        "order",
        "--perfcache-order",
        "auto: what is most likely to fail soonest, then the quick ones, and the long ones early enough; "
        "or fastest, failed, longest first; file: one file after the other; none: as collected.",
        "auto",
        parse_order,
        "ORDER",
    ),
    Option(
        "resources",
        "--perfcache-resources",
        "How much there is of each resource that tests claim; one of what is not named.",
        MappingProxyType[str, int]({}),
        parse_resources,
        "NAME=CAPACITY",
    ),
    Option(
        "parallel",
        "--perfcache-parallel",
        "all: tests run side by side; marked: only those marked parallel_safe, the rest one at a time.",
        "all",
        parse_parallel,
        "WHICH",
    ),
    Option(
        "locks",
        "--perfcache-locks",
        "Where runs on this host lock what their tests claim; for runs of several users, or with several "
        "temporary directories.",
        None,
        str,
        "DIR",
    ),
    Option(
        "shard",
        "--perfcache-shard",
        "Run part I of N of the tests, spread by expected duration.",
        None,
        parse_shard,
        "I/N",
    ),
    Option(
        "replay",
        "--perfcache-replay",
        "Run in this process what one worker of the last parallel run ran, in its order.",
        None,
        parse_worker,
        "WORKER",
        persistent=False,
    ),
    Option(
        "verify",
        "--perfcache-verify",
        "Run a random share of the hits all the same, and fail where one does not pass.",
        0.0,
        parse_share,
        "SHARE",
    ),
    Option(
        "stats",
        "--perfcache-stats",
        "Say at length what was skipped, what ran and why.",
        False,
        parse_bool,
        switch=True,
    ),
    Option(
        "explain",
        "--perfcache-explain",
        "Say for each test (or for those whose node id starts with NODEID) why it was a hit or ran.",
        None,
        str,
        "NODEID",
        persistent=False,
    ),
    Option(
        "show",
        "--perfcache-show",
        "Show what is remembered, and exit.",
        False,
        parse_bool,
        switch=True,
        persistent=False,
    ),
    Option(
        "clear",
        "--perfcache-clear",
        "Forget everything before this run.",
        False,
        parse_bool,
        switch=True,
        persistent=False,
    ),
    Option("report", "--perfcache-report", "Write a report; json:PATH.", None, parse_report, "FORM:PATH"),
)


class Settings(NamedTuple):
    """What the user asked for. ``ttl`` in seconds, ``size_limit`` in bytes."""

    enabled: bool
    dir: Path
    ttl: float
    size_limit: int
    flaky_passes: int
    order: str
    resources: Mapping[str, int]
    """Capacities by name."""
    parallel: str
    locks: Path | None
    """None: below the temporary directory, for each user."""
    shard: Shard | None
    replay: str | None
    verify: float
    stats: bool
    explain: str | None
    show: bool
    clear: bool
    report: tuple[str, str] | None

    @classmethod
    def gather(
        cls,
        command_line: Mapping[str, str | None],
        environ: Mapping[str, str],
        ini: Callable[[str], str | None],
        root: Path,
    ) -> Settings:
        """Join the sources; :class:`SettingsError` names the option, the value and what it takes."""
        found = {option.name: _value(option, command_line, environ, ini) for option in OPTIONS}
        found["dir"] = root / found["dir"]
        found["locks"] = None if found["locks"] is None else root / found["locks"]
        return cls(**found)


def _value(
    option: Option,
    command_line: Mapping[str, str | None],
    environ: Mapping[str, str],
    ini: Callable[[str], str | None],
) -> Any:
    sources = [(option.flag, command_line.get(option.dest))]
    if option.persistent:
        sources += [(option.variable, environ.get(option.variable)), (option.dest, ini(option.dest))]
    for where, text in sources:
        if text is not None:
            try:
                return option.parse(text)
            except ValueError as error:
                raise SettingsError(f"{where}: {text!r} will not do; it {error}") from None
    return option.default
