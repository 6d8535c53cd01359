"""The language of the scenarios: what a ``.test`` file says, as frozen records. ``README.md`` describes it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias


class ScenarioError(Exception):
    """A line that the language does not know; says file, line and why."""


@dataclass(frozen=True, slots=True)
class Write:
    """A whole new content. ``new``: the file must not exist yet, otherwise it must."""

    path: str
    text: str
    new: bool


@dataclass(frozen=True, slots=True)
class Append:
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Replace:
    """``old``, which must stand in the file exactly once, becomes ``new``.

    ``same_second``: the modification time keeps its second, as in an edit that follows the last run at once.
    """

    path: str
    old: str
    new: str
    same_second: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    path: str


@dataclass(frozen=True, slots=True)
class Touch:
    path: str


@dataclass(frozen=True, slots=True)
class Move:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Link:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    path: str


@dataclass(frozen=True, slots=True)
class SetMode:
    mode: int
    path: str


@dataclass(frozen=True, slots=True)
class SetVariable:
    """``value`` None takes the environment variable away."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class CopyCheckout:
    """The project moves to another directory; files get other inodes and time stamps, bytecode stays behind."""


@dataclass(frozen=True, slots=True)
class ChangeDirectory:
    """Where later runs are started, from the project's root."""

    path: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What one test did: ``passed`` and the like where it ran, ``cached`` where it was a hit."""

    name: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One session of pytest and everything that is said of it."""

    line: int
    args: tuple[str, ...]
    tests: tuple[Expected, ...] = ()
    exit: int = 0
    last_line: str | None = None
    says: tuple[str, ...] = ()
    says_not: tuple[str, ...] = ()


Step: TypeAlias = (
    Write
    | Append
    | Replace
    | Delete
    | Touch
    | Move
    | Link
    | MakeDirectory
    | SetMode
    | SetVariable
    | CopyCheckout
    | ChangeDirectory
    | Run
)


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario. ``xfail``: why it can not pass yet, empty where it must."""

    name: str
    file: str
    line: int
    steps: tuple[Step, ...]
    xdist: bool = False
    xfail: str = ""

    @property
    def id(self) -> str:
        return re.sub(r"\W+", "-", self.name).strip("-")


@dataclass(slots=True)
class _Section:
    """A line in brackets with what follows it."""

    line: int
    word: str
    argument: str
    rest: str
    body: list[tuple[int, str]] = field(default_factory=list)


_HEADER: Final = re.compile(r"\[(run)(?: (.*))?\]()|\[(\w[\w-]*)(?: (.*?))?\](?: (.*))?")
"""A node id in the arguments of a run may hold brackets."""
_FLAGS: Final = re.compile(r"(?P<xdist>xdist)? ?(?:xfail(?: on (?P<version>[\d.]+))?: (?P<xfail>.+))?")
_TESTS: Final = re.compile(r"(\S+(?: \S+)*?)(?: \((.+)\))?")
_ENDS: Final = ("failed", "skipped", "xfailed", "xpassed", "interrupted")
_OUTCOMES: Final = {"ran": "passed", **{word: word for word in (*_ENDS, "cached")}}
_NEW: Final = "no record"
_WITH_TEXT: Final = frozenset(("file", "edit", "append"))


def cases_in(directory: Path) -> Iterator[Case]:
    """All cases of the ``.test`` files in a directory, in order."""
    for path in sorted(directory.glob("*.test")):
        yield from parse(path.read_text("utf-8"), path.name)


def parse(text: str, file: str) -> list[Case]:
    """The cases of one file; :class:`ScenarioError` at the first line that is not understood."""
    cases: list[Case] = []
    gathered: list[_Section] = []
    for section in _sections(text, file):
        if section.word == "case" and gathered:
            cases.append(_case(gathered, file))
            gathered = []
        gathered.append(section)
    if gathered:
        cases.append(_case(gathered, file))
    names = [case.id for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(f"{file}: two cases are named {name!r}")
    return cases


def _sections(text: str, file: str) -> Iterator[_Section]:
    current: _Section | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("["):
            match = _HEADER.fullmatch(line)
            if match is None:
                raise ScenarioError(f"{file}:{number}: not understood: {line}")
            if current is not None:
                yield current
            word, argument, rest = (found or "" for found in (match.groups()[:3] if match[1] else match.groups()[3:]))
            current = _Section(number, word, argument, rest)
            if current.word != "case" and current.word not in _BUILDERS:
                raise ScenarioError(f"{file}:{number}: no such step: [{current.word}]")
        elif current is not None and (current.word in _WITH_TEXT or not _ignored(line)):
            current.body.append((number, line.removeprefix("\\") if line.startswith("\\[") else line))
        elif current is None and not _ignored(line):
            raise ScenarioError(f"{file}:{number}: stands before the first case: {line}")
    if current is not None:
        yield current


def _ignored(line: str) -> bool:
    return not line.strip() or line.startswith("#")


def _case(sections: list[_Section], file: str) -> Case:
    head, *others = sections
    flags = _FLAGS.fullmatch(head.rest)
    if head.word != "case" or not head.argument or head.body or flags is None:
        raise ScenarioError(f"{file}:{head.line}: a case starts with [case NAME], then perhaps xdist, xfail: WHY")
    steps: list[Step] = []
    for section in others:
        try:
            steps.append(_BUILDERS[section.word](section))
        except ValueError as error:
            raise ScenarioError(f"{file}:{section.line}: [{section.word}] {error}") from None
    if not any(isinstance(step, Run) for step in steps):
        raise ScenarioError(f"{file}:{head.line}: a case without a run shows nothing")
    concerned = flags["version"] in (None, f"{sys.version_info.major}.{sys.version_info.minor}")
    return Case(
        name=head.argument,
        file=file,
        line=head.line,
        steps=tuple(steps),
        xdist=bool(flags["xdist"]),
        xfail=(flags["xfail"] or "") if concerned else "",
    )


def _text(section: _Section) -> str:
    if not section.argument or section.rest:
        raise ValueError("takes a path and then lines of text")
    lines = [line for _, line in section.body]
    while lines and not lines[-1].strip():
        lines.pop()
    return "".join(f"{line}\n" for line in lines)


def _one(section: _Section) -> str:
    if not section.argument or section.rest or section.body:
        raise ValueError("takes one argument and nothing after it")
    return section.argument


def _two(text: str) -> tuple[str, str]:
    left, arrow, right = text.partition(" -> ")
    if not arrow:
        raise ValueError("takes: one -> other")
    return left, right


def _replace(section: _Section) -> Replace:
    if section.body or not section.rest:
        raise ValueError("takes: [replace PATH] old -> new")
    path = section.argument.removesuffix(" in the same second")
    old, new = _two(section.rest.replace("\\n", "\n"))
    return Replace(path, old, new, same_second=path != section.argument)


def _set_variable(section: _Section) -> SetVariable:
    name, equals, value = _one(section).partition("=")
    if not equals:
        raise ValueError("takes NAME=VALUE")
    return SetVariable(name, value)


def _set_mode(section: _Section) -> SetMode:
    mode, _, path = _one(section).partition(" ")
    return SetMode(int(mode, 8), path)


def _copy(section: _Section) -> CopyCheckout:
    if _one(section) != "checkout":
        raise ValueError("takes: [copy checkout]")
    return CopyCheckout()


def _run(section: _Section) -> Run:
    if section.rest:
        raise ValueError("has its arguments inside the brackets")
    said: dict[str, list[str]] = {}
    tests: list[Expected] = []
    for number, line in section.body:
        word, colon, value = line.partition(": ")
        if not colon:
            raise ValueError(f"line {number} is no expectation: {line}")
        if word in _OUTCOMES:
            tests += _tests(word, value)
        else:
            said.setdefault(word, []).append(value)
    return _checked_run(section, tests, said)


def _checked_run(section: _Section, tests: list[Expected], said: Mapping[str, list[str]]) -> Run:
    unknown = said.keys() - {"exit", "last line", "says", "says not"}
    if unknown:
        raise ValueError(f"expects something unknown: {', '.join(sorted(unknown))}")
    if not said and not tests:
        raise ValueError("expects nothing")
    for word in ("exit", "last line"):
        if len(said.get(word, [])) > 1:
            raise ValueError(f"has more than one {word!r}")
    failed = any(test.outcome == "failed" for test in tests)
    return Run(
        line=section.line,
        args=tuple(shlex.split(section.argument)),
        tests=tuple(tests),
        exit=int(said["exit"][0]) if "exit" in said else int(failed),
        last_line=said["last line"][0] if "last line" in said else None,
        says=tuple(said.get("says", ())),
        says_not=tuple(said.get("says not", ())),
    )


def _tests(word: str, value: str) -> Iterator[Expected]:
    match = _TESTS.fullmatch(value)
    if match is None:
        raise ValueError(f"takes test names, then perhaps a reason in parentheses: {word}: {value}")
    if word == "cached" and match[2]:
        raise ValueError("a cached test needs no reason")
    reason = "" if word == "cached" else match[2] or _NEW
    for name in match[1].split(" "):
        yield Expected(name, _OUTCOMES[word], reason)


_BUILDERS: Final[Mapping[str, Callable[[_Section], Step]]] = {
    "file": lambda section: Write(section.argument, _text(section), new=True),
    "edit": lambda section: Write(section.argument, _text(section), new=False),
    "append": lambda section: Append(section.argument, _text(section)),
    "replace": _replace,
    "delete": lambda section: Delete(_one(section)),
    "touch": lambda section: Touch(_one(section)),
    "move": lambda section: Move(*_two(_one(section))),
    "link": lambda section: Link(*_two(_one(section))),
    "mkdir": lambda section: MakeDirectory(_one(section)),
    "chmod": _set_mode,
    "env": _set_variable,
    "unset": lambda section: SetVariable(_one(section), None),
    "copy": _copy,
    "cd": lambda section: ChangeDirectory(_one(section)),
    "run": _run,
}
