"""Can code see that functions were bound anew, or that literals have other values?

What a test depends on is the code that it ran (blocks), what was imported for it (skeletons), and files that it read.
A value that changed under a name reaches the test where that code names it, where the code looks names up by computed
texts, or where it gives the module as a whole to somebody else (``docs/explanation/facts.md``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol

from pytest_perfcache.facts.mentions import ANY_GLOBAL, ANY_IMPORT, ANYTHING, OWN_MODULE, SIGNATURES
from pytest_perfcache.facts.places import is_test_file
from pytest_perfcache.model import Fact, Kind, Trace

if TYPE_CHECKING:
    from pytest_perfcache.facts.world import Rebound

_CODE: Final = (Kind.SKELETON, Kind.BLOCK, Kind.SOURCE)


class Code(Protocol):
    """What is known of the code and the texts behind facts."""

    def mentions(self, fact: Fact, words: frozenset[bytes]) -> frozenset[str] | None:
        """What the code of a source fact mentions; None where that is not known.

        May be empty where the file holds none of the words, and nothing that looks names up by computed texts.
        """

    def text(self, fact: Fact) -> bytes:
        """The content of a file fact; empty where there is none."""

    def environment(self) -> frozenset[str]:
        """What the values of environment variables mention."""


class Reach:
    """Who can see one module's change. Answers are remembered by fact."""

    def __init__(self, rebound: Rebound, code: Code) -> None:
        self._code = code
        self._rebound = rebound
        self._change = _Change.of(rebound)
        self._target = _Target(rebound.path)
        self._seen: dict[Fact, str] = {}
        self._words = self._change.words | self._target.words
        self._mentioned = cache(code.mentions)
        self._carriers = cache(self._carried_by)
        self._shown: dict[tuple[Fact, str], tuple[bool, bool]] = {}
        self._groups: dict[int, tuple[tuple[Fact, ...], tuple[str, list[Fact]]]] = {}
        """Groups of facts by identity, with what :meth:`_seen_by` found."""

    def to(self, facts: Iterable[Fact]) -> str | None:
        """Why a record with these facts sees the change, in words; None where it does not."""
        groups = facts.groups if isinstance(facts, Trace) else (tuple(facts),)
        seen = [self._seen_by(group) for group in groups]
        for why, _ in seen:
            if why:
                return why
        if not self._rebound.values:
            return None
        facts = [*chain.from_iterable(texts for _, texts in seen)]
        return self._by_annotation([fact for fact in facts if fact.kind in _CODE]) or self._as_a_whole(facts)

    def _seen_by(self, group: tuple[Fact, ...]) -> tuple[str, list[Fact]]:
        """Why one of these names the change, empty where none does; and those of them that are texts."""
        number = object.__hash__(group)
        if number not in self._groups:
            texts = [fact for fact in group if fact.kind in _CODE or fact.kind is Kind.FILE]
            named = ((name, fact) for fact in texts if (name := self._sees(fact)))
            why = next((f"{self._change.describe(name)}, and {fact.key} names it" for name, fact in named), "")
            self._groups[number] = group, (why, texts)
        return self._groups[number][1]

    def _sees(self, fact: Fact) -> str:
        """The name that changed and that this code names; empty where there is none."""
        found = self._seen.get(fact)
        if found is None:
            found = self._seen[fact] = self._look(fact)
        return found

    def _look(self, fact: Fact) -> str:
        if fact.kind is Kind.FILE:
            return self._change.in_text(self._code.text(fact)) if self._rebound.values else ""
        path, qualname = fact.place
        if self._rebound.values and fact.kind is Kind.BLOCK:
            owner = self._change.owner(qualname) if path == self._rebound.path else ""
            if owner:
                return owner
        mentions = self._mentions(fact)
        if mentions is None:
            return self._change.anything
        return self._change.named(mentions, "$" if path == self._rebound.path else "")

    def _mentions(self, fact: Fact) -> frozenset[str] | None:
        return self._mentioned(fact, self._words)

    def _carried_by(self, fact: Fact) -> dict[str, str]:
        return self._change.carriers(self._mentions(fact) or frozenset())

    def _by_annotation(self, facts: Sequence[Fact]) -> str | None:
        """Annotations are looked at by who looks at signatures, of whatever function, or names the function."""
        carriers: dict[str, str] = {}
        for fact in facts:
            carriers |= self._carriers(fact)
        if not carriers:
            return None
        wanted = {SIGNATURES, ANYTHING, *carriers, *(f"${name}" for name in carriers)}
        words = frozenset(name.encode() for name in carriers)
        for fact in facts:
            for name in sorted(wanted & (self._mentioned(fact, words) or frozenset())):
                changed = carriers.get(name.removeprefix("$"), self._change.anything)
                return f"{self._change.describe(changed)}, and {fact.key} names a function with it in its signature"
        return None

    def _as_a_whole(self, facts: Sequence[Fact]) -> str | None:
        """Whether somebody may look at all that the module holds, or one that takes a changed name from it."""
        paths = [self._rebound.path]
        paths += (fact.name for fact in facts if fact.kind is Kind.SKELETON and self._takes_over(fact))
        for path in dict.fromkeys(paths):
            target = self._target if path == self._rebound.path else _Target(path)
            shown = [self._show(fact, target) for fact in facts if fact.kind in _CODE]
            if not (is_test_file(path) or any(imported for imported, _ in shown)):
                return (
                    f"a value in {self._rebound.path} changed, and {path} is imported by other means than a statement"
                )
            for fact, (_, given) in zip((f for f in facts if f.kind in _CODE), shown, strict=True):
                if given:
                    return f"a value in {self._rebound.path} changed, and {fact.key} may look at all of {path}"
            if target.is_named_by(self._code.environment()):
                return f"a value in {self._rebound.path} changed, and the environment names {path}"
            for fact in facts:
                if fact.kind is Kind.FILE and target.is_in_text(self._code.text(fact)):
                    return f"a value in {self._rebound.path} changed, and {fact.key} names {path}"
        return None

    def _takes_over(self, fact: Fact) -> bool:
        return fact.name != self._rebound.path and self._change.taken_over(self._mentions(fact) or frozenset())

    def _show(self, fact: Fact, target: _Target) -> tuple[bool, bool]:
        """Whether this code imports the target by a statement, and whether it gives it away as a whole."""
        key = (fact, target.path)
        found = self._shown.get(key)
        if found is None:
            path = fact.place[0]
            mentions = self._code.mentions(fact, self._change.words | target.words) or frozenset()
            imports = path != target.path and f"^{target.last}" in mentions
            gives = target.is_named_by(mentions) or (OWN_MODULE in mentions and target.belongs_to(path))
            found = self._shown[key] = imports, gives
        return found


@dataclass(frozen=True, slots=True)
class _Change:
    """The names of a change, by how they are looked up."""

    functions: dict[str, str]
    constants: frozenset[str]
    attributes: dict[str, str]
    classes: dict[str, str]

    @classmethod
    def of(cls, rebound: Rebound) -> _Change:
        values = sorted(rebound.values)
        attributes = [name for name in values if "." in name]
        return cls(
            functions={_last(name): name for name in sorted(rebound.names)},
            constants=frozenset(values).difference(attributes),
            attributes={_last(name): name for name in attributes},
            classes={part: name for name in attributes for part in name.split(".")[:-1]},
        )

    @property
    def words(self) -> frozenset[bytes]:
        names = (*self.functions, *self.constants, *self.attributes, *self.classes)
        return frozenset(name.encode() for name in names)

    @property
    def anything(self) -> str:
        return min((*self.functions.values(), *self.constants, *self.attributes.values()))

    def describe(self, name: str) -> str:
        if name in self.functions.values():
            return f"function {name} appeared, vanished or has another signature"
        return f"{name} has another value"

    def named(self, mentions: frozenset[str], own: str) -> str:
        """The first changed name that code with these mentions could look up; empty where there is none.

        ``own``: the mark of the module's own names, where it is this module's code.
        """
        reflective = ANYTHING in mentions
        for name, full in self.functions.items():
            if reflective or not mentions.isdisjoint((name, f"${name}", f"<{name}", f":{name}")):
                return full
        for name in self.constants:
            if ANY_GLOBAL in mentions or not mentions.isdisjoint((name, own + name)):
                return name
        for name, full in (*self.attributes.items(), *self.classes.items()):
            if reflective or not mentions.isdisjoint((name, own + name)):
                return full
        return ""

    def carriers(self, mentions: frozenset[str]) -> dict[str, str]:
        """What has a changed name in its annotations → that name."""
        names = {name: name for name in self.constants} | self.classes
        parts = (mention.partition(":") for mention in mentions)
        return {carrier: names[name] for carrier, colon, name in parts if colon and name in names}

    def taken_over(self, mentions: frozenset[str]) -> bool:
        """Whether the module binds something of the change under the same name."""
        names = (*self.constants, *self.classes)
        return ANY_IMPORT in mentions or any(f"<{name}" in mentions for name in names)

    def owner(self, qualname: str) -> str:
        """The attribute of a class whose function this is; empty where it is of no such class."""
        return next(
            (name for name in self.attributes.values() if qualname.startswith(name.rpartition(".")[0] + ".")), ""
        )

    def in_text(self, text: bytes) -> str:
        """The first changed name that is a word of a text."""
        for word in self.words:
            if word in text and re.search(rb"\b%s\b" % re.escape(word), text):
                return self.anything
        return ""


class _Target:
    """A module that somebody may get hold of as a whole."""

    def __init__(self, path: str) -> None:
        parts = path.removesuffix(".py").split("/")
        self.is_package = parts[-1] == "__init__"
        self.path = path
        self.parts = parts[:-1] if self.is_package and len(parts) > 1 else parts
        self.last = self.parts[-1]
        self.words = frozenset(part.encode() for part in self.parts)
        self._dotted = "." + ".".join(self.parts) + "."

    def is_named_by(self, mentions: Iterable[str]) -> bool:
        """Whether one of the mentions is a part of the dotted name, or of that of a package around it."""
        if f"~{self.last}" in mentions if isinstance(mentions, frozenset) else False:
            return True
        return any(f".{name[1:]}." in self._dotted for name in mentions if name[0] == "@" and len(name) > 1)

    def belongs_to(self, path: str) -> bool:
        """Whether the file at ``path`` is the module itself, or the start of a package around it."""
        directory, _, name = path.rpartition("/")
        return path == self.path or (name == "__init__.py" and self.path.startswith(f"{directory}/"))

    def is_in_text(self, text: bytes) -> bool:
        return any(
            name in text and re.search(rb"(?<![\w.])%s(?![\w.])" % re.escape(name), text) for name in self._full_names()
        )

    def _full_names(self) -> Iterator[bytes]:
        for start in range(max(len(self.parts) - 1, 1)):
            yield ".".join(self.parts[start:]).encode()


def _last(name: str) -> str:
    return name.rpartition(".")[2]
