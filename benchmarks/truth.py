"""Which tests enter which function, by the profile recorder, and choosing functions to edit."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.edits import Function, functions
from benchmarks.session import Checkout, run_pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Target:
    """A function of the package under test with the tests that enter it; `path` is relative to the tree."""

    path: str
    function: Function
    tests: frozenset[str]


@dataclass(frozen=True, slots=True)
class Calls:
    """For each function (path relative to the tree, first line) the tests that enter it."""

    tests: frozenset[str]
    users: dict[tuple[str, int], frozenset[str]]
    at_import: frozenset[tuple[str, int]]


def record_calls(checkout: Checkout, arguments: tuple[str, ...] = ()) -> Calls:
    """Run the suite, or some paths, under the profile recorder; `RuntimeError` when it wrote nothing."""
    written = checkout.scratch / "truth.json"
    written.unlink(missing_ok=True)
    sources = [f"{(checkout.tree / package).resolve()}{os.sep}" for package in checkout.spec.packages]
    environment = {"PERFBENCH_TRUTH": str(written), "PERFBENCH_SOURCES": os.pathsep.join(sources)}
    probes = ("perfbench_truth",)
    run_pytest(checkout, "plain", probes=probes, arguments=arguments or None, environment=environment)
    if not written.exists():
        raise RuntimeError(f"the recorder wrote nothing, see {checkout.scratch / 'plain.log'}")
    found = json.loads(written.read_text())
    keys = [
        (Path(path).relative_to(checkout.tree.resolve()).as_posix(), line) for path, _name, line in found["functions"]
    ]
    users: dict[tuple[str, int], set[str]] = {key: set() for key in keys}
    for nodeid, numbers in found["tests"].items():
        for number in numbers:
            users[keys[number]].add(nodeid)
    return Calls(
        frozenset(found["tests"]),
        {key: frozenset(nodeids) for key, nodeids in users.items()},
        frozenset(keys[number] for number in found["collection"]),
    )


def targets(checkout: Checkout, calls: Calls, largest_share: float) -> Iterator[Target]:
    """Functions that two tests or more enter, at most a share of all, and none at import or collection."""
    most = largest_share * len(calls.tests)
    by_path: dict[str, dict[int, Function]] = {}
    for (path, line), users in sorted(calls.users.items()):
        if path not in by_path:
            source = (checkout.tree / path).read_text()
            by_path[path] = {function.first_line: function for function in functions(source)}
        function = by_path[path].get(line)
        if function is not None and 2 <= len(users) <= most and (path, line) not in calls.at_import:
            yield Target(path, function, users)


def choose(found: list[Target], count: int, seed: int) -> list[Target]:
    """A seeded choice of at most `count` targets; `LookupError` when there is none."""
    if not found:
        raise LookupError("no function is entered by some but not most of the tests")
    return random.Random(seed).sample(found, min(count, len(found)))
