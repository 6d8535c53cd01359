"""`python -m benchmarks timing`: what recording and an unchanged run cost, as ratios within one run.

Every round runs all ways in turn on the same copy, so that a slow spell of the machine falls on all of them;
the table has medians over the rounds, as multiples of the suite's plain run. No recorder plugin is loaded.
An empty run starts pytest with the suite's plugins and conftest files on a directory without tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.corpus import REPOSITORY, Suite, add_common_options, install_plugin, suites, version_of
from benchmarks.edits import edited, with_constant, with_probe
from benchmarks.generated import generated
from benchmarks.session import Checkout, Run, Tool, run_pytest
from benchmarks.tables import PAGE, percent, put, table
from benchmarks.truth import Target, choose, record_calls, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EMPTY = "perfbench_empty"
ALONE = "plain: only the tests that enter the edited body"
"""What nobody has who does not know these tests, and so the least that an edited run can be asked for."""
Sample = tuple[float, int]


class CrashedError(RuntimeError):
    """Pytest itself ended with an error; the text names the log."""


@dataclass(frozen=True, slots=True)
class Timer:
    """One suite's copy with the function to edit, and which tools are timed."""

    checkout: Checkout
    target: Target
    with_testmon: bool
    with_perfcache: bool
    workers: int
    left_out: tuple[str, ...]
    """Node ids of the tests that fail plainly: these run each time, whoever decides."""

    def run(self, tool: Tool, *extra: str, arguments: tuple[str, ...] | None = None) -> Sample:
        """Wall time (seconds) and peak memory (bytes) of a run; `CrashedError` when pytest itself failed."""
        deselect = (f"--deselect={nodeid}" for nodeid in self.left_out)
        run: Run = run_pytest(self.checkout, tool, *deselect, *extra, probes=(), arguments=arguments)
        if run.returncode not in {0, 1, 5}:
            raise CrashedError(f"pytest ended with {run.returncode}: {self.checkout.scratch / f'{tool}.log'}")
        return run.seconds, run.peak_bytes

    def round(self) -> Iterator[tuple[str, Sample]]:
        """All ways once, each with its name."""
        self.checkout.forget()
        yield "plain", self.run("plain")
        empty = f"{self.checkout.spec.conftest_dir}/{EMPTY}"
        yield "empty run (no collection)", self.run("plain", arguments=(empty,))
        yield "empty run (everything deselected)", self.run("plain", "-k", "perfbench_selects_nothing")
        yield "collect only", self.run("plain", "--collect-only")
        yield ALONE, self.run("plain", arguments=tuple(sorted(self.target.tests)))
        if self.workers:
            yield f"xdist, {self.workers} workers", self.run("plain", "-n", str(self.workers))
        if self.with_testmon:
            try:
                yield from self.states("testmon", "first run", lambda: self.run("testmon"))
            except CrashedError as error:
                print(f"  testmon is left out: {error}", flush=True)
        if self.with_perfcache:
            yield from self.states("perfcache", "recording", lambda: self.run("perfcache"))

    def states(self, tool: str, first: str, run: Callable[[], Sample]) -> Iterator[tuple[str, Sample]]:
        """First run, unchanged twice, one body edited, one constant edited, and back."""
        self.checkout.forget()
        yield f"{tool}: {first}", run()
        yield f"{tool}: second run, unchanged", run()
        yield f"{tool}: unchanged", run()
        path = self.checkout.tree / self.target.path
        source = path.read_bytes().decode()
        with edited(path, with_probe(source, self.target.function).encode()):
            yield f"{tool}: one body edited", run()
        yield f"{tool}: body reverted", run()
        with edited(path, with_constant(source, 2).encode()):
            yield f"{tool}: one constant edited", run()
        yield f"{tool}: constant reverted", run()


@dataclass(frozen=True, slots=True)
class Timing:
    """One suite's samples by way; `share` of the tests enter the edited function."""

    suite: str
    tests: int
    function: str
    share: float
    samples: dict[str, list[Sample]]

    def seconds(self, way: str) -> float:
        """The median wall time of a way."""
        return median(sample[0] for sample in self.samples[way])

    def ratio(self, way: str, base: str) -> float:
        """The median over the rounds of a way's time over another's in the same round."""
        pairs = zip(self.samples[way], self.samples[base], strict=True)
        return median(mine[0] / other[0] for mine, other in pairs)

    def slowed(self) -> float:
        """Milliseconds that recording adds to each test, start and end of the run included: the median."""
        pairs = zip(self.samples["perfcache: recording"], self.samples["plain"], strict=True)
        return median(mine[0] - other[0] for mine, other in pairs) * 1000 / self.tests

    def over_share(self) -> float:
        """An edited run's time over an unchanged one's and the edited tests' share of a plain one: the median."""
        ways = ("perfcache: one body edited", "perfcache: unchanged", "plain")
        edited, unchanged, plain = ([sample[0] for sample in self.samples[way]] for way in ways)
        rounds = zip(edited, unchanged, plain, strict=True)
        return median(mine / (nothing + self.share * all_of_it) for mine, nothing, all_of_it in rounds)

    def megabytes(self, way: str) -> float:
        """The median peak memory of a way."""
        return median(sample[1] for sample in self.samples[way]) / 1e6


def time_suite(suite: Suite, rounds: int, seed: int, testmon: bool, workers: int) -> Timing:
    """Measure one suite in a fresh copy."""
    checkout = suite.checkout("timing")
    (checkout.tree / checkout.spec.conftest_dir / EMPTY).mkdir()
    calls = record_calls(checkout)
    (target,) = choose(list(targets(checkout, calls, 0.1)), 1, seed)
    samples: dict[str, list[Sample]] = {}
    with ExitStack() as stack:
        path = checkout.tree / target.path
        stack.enter_context(edited(path, with_constant(path.read_bytes().decode(), 1).encode()))
        timer = Timer(checkout, target, testmon, has_plugin(suite), workers, suite.baseline().failing)
        for number in range(rounds):
            for way, sample in timer.round():
                samples.setdefault(way, []).append(sample)
                print(f"  {number + 1}: {way}: {sample[0]:.2f} s, {sample[1] / 1e6:.0f} MB", flush=True)
    tests = len(calls.tests)
    name = f"{target.path}::{target.function.qualname}"
    return Timing(suite.spec.requirement, tests, name, len(target.tests) / tests, samples)


def has_plugin(suite: Suite) -> bool:
    """Whether pytest-perfcache is installed in the suite's environment."""
    code = "import pytest_perfcache.plugin"
    done = subprocess.run([str(suite.python), "-c", code], cwd=suite.home, capture_output=True, check=False)
    return done.returncode == 0


def page(timings: list[Timing], python: str, command: str) -> str:
    """The section of the documentation page: one table of ratios, one of memory."""
    ways = list(dict.fromkeys(way for timing in timings for way in timing.samples))
    header = ("time over plain", *(timing.suite for timing in timings))

    def cells(way: str, text: Callable[[Timing, str], str]) -> tuple[str, ...]:
        return (way, *(text(timing, way) if way in timing.samples else "" for timing in timings))

    rows = [cells(way, lambda timing, name: f"{timing.ratio(name, 'plain'):.2f}") for way in ways]
    unchanged = "perfcache: unchanged"
    edit = "perfcache: one body edited"
    for way, base in ((unchanged, "empty run (no collection)"), (unchanged, "testmon: unchanged"), (edit, ALONE)):
        told = [f"{timing.ratio(way, base):.2f}" if {way, base} <= timing.samples.keys() else "" for timing in timings]
        if any(told):
            rows.append((f"*{way}, over {base}*", *told))
    ours = [timing if unchanged in timing.samples else None for timing in timings]
    rows.append(
        (
            "*perfcache: one body edited, over unchanged and the share of plain*",
            *(f"{timing.over_share():.2f}" if timing else "" for timing in ours),
        )
    )
    rows.append(
        ("perfcache: recording, ms more a test", *(f"{timing.slowed():.1f}" if timing else "" for timing in ours))
    )
    rows.append(("rounds", *(str(len(timing.samples["plain"])) for timing in timings)))
    rows.append(("plain, seconds", *(f"{timing.seconds('plain'):.1f}" for timing in timings)))
    rows.append(("tests", *(str(timing.tests) for timing in timings)))
    rows.append(("share of tests entering the edited body", *(percent(timing.share) for timing in timings)))
    memory = [cells(way, lambda timing, name: f"{timing.megabytes(name):.0f}") for way in ways]
    return "\n".join(
        [
            f"Made by `{command}` on Python {python}: medians, over plain pytest in the same round.",
            "",
            table(header, rows),
            "",
            table(("peak memory, MB", *header[1:]), memory),
        ]
    )


def main(arguments: list[str]) -> int:
    """Measure suites and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks timing", description=__doc__)
    add_common_options(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--generated", type=int, action="append", default=[], metavar="N", help="suite of N tests")
    parser.add_argument("--no-testmon", action="store_true")
    parser.add_argument("--workers", type=int, default=0, help="also time plain xdist with this many")
    parser.add_argument("--plugin", type=Path, default=REPOSITORY, help="for generated suites")
    parser.add_argument("--no-plugin", action="store_true", help="generated suites without pytest-perfcache")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {PAGE.name}")
    options = parser.parse_args(arguments)
    work, python = options.work.resolve(), version_of(options.python)
    named = bool(options.suites) or not options.generated
    chosen = suites(work, options.python, options.suites) if named else []
    for tests in options.generated:
        chosen.append(generated(work, options.python, python, tests))
        if not options.no_plugin:
            install_plugin(chosen[-1], options.plugin.resolve())
    timings = []
    for suite in chosen:
        print(suite.spec.requirement, flush=True)
        timings.append(time_suite(suite, options.rounds, options.seed, not options.no_testmon, options.workers))
    command = " ".join(["python -m benchmarks timing", *(f"--generated {n}" for n in options.generated)])
    target = work / "results" / f"timing-py{python}.json"
    target.parent.mkdir(exist_ok=True)
    timings = merged(target, timings)
    target.write_text(json.dumps([asdict(timing) for timing in timings], indent=1))
    text = page(timings, python, command)
    print(text)
    if options.write_docs:
        put(PAGE, "timing" if python == "3.11" else f"timing on {python}", text)
    return 0


def merged(target: Path, fresh: list[Timing]) -> list[Timing]:
    """What was measured before of other suites, and what was measured now."""
    known = json.loads(target.read_text()) if target.exists() else []
    new = {timing.suite for timing in fresh}
    return [*(Timing(**old) for old in known if old["suite"] not in new), *fresh]
