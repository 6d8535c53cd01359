"""Trying many mutants of one suite, some at a time, resumably."""

from __future__ import annotations

import json
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks.soundness.mutants import Mutant, in_data, in_source, sequence
from benchmarks.soundness.summary import Line, read_lines
from benchmarks.soundness.trial import Plan, Slot, warm
from benchmarks.truth import Calls, record_calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.corpus import Suite
    from benchmarks.session import Checkout

Key: TypeAlias = tuple[int, str, int, str, str]
NO_DATA = (".py", ".pyc", ".pyi", ".typed", ".so", ".md", ".rst", ".c", ".sh")


@dataclass(frozen=True, slots=True)
class Campaign:
    """`count` mutants of one suite, in the order that `seed` gives, appended to `results` as JSON lines.

    `truths` are results of an earlier campaign, whose plain runs and other tools' judgements are taken over.
    """

    suite: Suite
    plan: Plan
    seed: int
    count: int
    jobs: int
    results: Path
    truths: Path | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Try what is not in the results yet, with `jobs` slots."""
        name = self.suite.spec.name
        done = {line["number"] for line in self.mine(self.results)}
        wanted = [number for number in range(self.count) if number not in done]
        if not wanted:
            return
        print(f"{name}: warming {self.jobs} copies", flush=True)
        with ThreadPoolExecutor(self.jobs) as pool:
            warmed = list(pool.map(lambda number: warm(self.suite, number, self.plan), range(self.jobs)))
            slots: queue.SimpleQueue[Slot] = queue.SimpleQueue()
            for slot in warmed:
                slots.put(slot)
            mutants = list(islice(self.mutants(warmed[0].checkout), self.count))
            chosen = [(number, mutants[number]) for number in wanted if number < len(mutants)]
            earlier = self.mine(self.truths) if self.truths else []
            known = {key_of(line): line for line in earlier if "failing" in line or line["status"] == "timeout"}
            for _ in pool.map(lambda pair: self.one(slots, pair[0], pair[1], known), chosen):
                pass

    def mine(self, path: Path) -> list[Line]:
        """The results in a file that are of this suite, seed and tests."""
        wanted = (self.suite.spec.name, self.seed, list(self.plan.arguments))
        return [line for line in read_lines(path) if (line["suite"], line["seed"], line["tests_run"]) == wanted]

    def mutants(self, checkout: Checkout) -> Iterator[Mutant]:
        """All mutants of the package (where some test or import goes) and of data files, in the campaign's order."""
        calls = record_calls(checkout, self.plan.arguments)
        found = [mutant for path in sources(checkout) for mutant in in_source(path, read(checkout, path))]
        found += [mutant for path in data_files(checkout) for mutant in in_data(path, read(checkout, path), self.seed)]
        return sequence(found, self.seed, lambda mutant: reached(mutant, calls))

    def one(self, slots: queue.SimpleQueue[Slot], number: int, mutant: Mutant, known: dict[Key, Line]) -> None:
        """Try one mutant in a free slot and append its line."""
        slot = slots.get()
        try:
            found = slot.try_mutant(mutant, known.get((number, mutant.path, mutant.line, mutant.kind, mutant.text)))
        finally:
            slots.put(slot)
        self.append(number, mutant, found)

    def append(self, number: int, mutant: Mutant, found: dict[str, Any]) -> None:
        """Append a result and print it in one line."""
        line = {
            "suite": self.suite.spec.name,
            "seed": self.seed,
            "number": number,
            "tests_run": list(self.plan.arguments),
            "path": mutant.path,
            "line": mutant.line,
            "kind": mutant.kind,
            "text": mutant.text,
            **found,
        }
        with self.lock:
            with self.results.open("a") as sink:
                sink.write(json.dumps(line) + "\n")
            told = {
                tool: f"{len(it['missed'])} missed, {len(it['hidden'])} hidden, {it['executed']} executed"
                for tool, it in found.get("tools", {}).items()
            }
            place = f"{mutant.path}:{mutant.line} {mutant.kind}"
            print(f"{number} {place}: {found['status']} {found.get('changed', '')} {told}", flush=True)


def key_of(line: Line) -> Key:
    """What tells whether a line is of the same mutant."""
    return line["number"], line["path"], line["line"], line["kind"], line["text"]


def read(checkout: Checkout, path: str) -> bytes:
    """A file of the tree."""
    return (checkout.tree / path).read_bytes()


def sources(checkout: Checkout) -> list[str]:
    """The package's own sources, and conftest files; paths relative to the tree."""
    found = [path for package in checkout.spec.packages for path in (checkout.tree / package).rglob("*.py")]
    found += checkout.tree.rglob("conftest.py")
    names = {path.relative_to(checkout.tree).as_posix() for path in found if path.is_file()}
    return sorted(name for name in names if name.endswith("conftest.py") or "tests" not in name.split("/"))


def data_files(checkout: Checkout) -> list[str]:
    """Files beside the package's and the tests' code that are no code, smaller than a megabyte."""
    roots = {*checkout.spec.packages, checkout.spec.conftest_dir}
    found = [path for root in roots for path in (checkout.tree / root).rglob("*") if path.is_file()]
    return sorted(
        path.relative_to(checkout.tree).as_posix()
        for path in found
        if not path.name.endswith(NO_DATA) and "__pycache__" not in path.parts and path.stat().st_size < 1 << 20
    )


def reached(mutant: Mutant, calls: Calls) -> bool:
    """Whether a test or an import executes the function around a mutant; what is outside functions counts."""
    if mutant.function is None or mutant.path.endswith("conftest.py"):
        return True
    place = (mutant.path, mutant.function)
    return place in calls.at_import or bool(calls.users.get(place))
