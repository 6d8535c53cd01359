"""`python -m benchmarks scheduling real`: suites of sleeping tests with real workers, beside xdist's own schedulers.

In a round every scheduler runs every suite once, so that a slow spell of the machine falls on all of them. A cell of
the table holds the median of the seconds of a whole run, start-up and all, and in brackets that of the efficiency:
the time that tests slept over the time between a worker's first test and the end of the last one, which sets start-up
apart. The first ratio is that of our median to the lowest median of the other schedulers; the second is the median of
our seconds over the best of the others in the same round, and best of four is less than each of them where only noise
tells them apart. For the schedulers of xdist the tests hold a lock while they use a resource, or are of one group
(`loadgroup`).

Each run is printed and kept when it has ended: an interrupt loses no more than the round that it falls into, and
`--repeat 0` makes the table of what is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.corpus import default_work
from benchmarks.scheduling.sleeping import SHAPES, lower_bound
from benchmarks.tables import REPOSITORY, put, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.scheduling.sleeping import Modules

PERFCACHE: Final = "perfcache"
OTHERS: Final = ("load", "worksteal", "loadfile", "loadgroup")
SCHEDULERS: Final = (PERFCACHE, *OTHERS)
PAGE: Final = REPOSITORY / "docs" / "explanation" / "scheduling.md"
DEFAULT_SHAPES: Final = ("log-normal", "few huge", "resource-heavy")

TEST_MODULE: Final = """\
import contextlib, fcntl, os, time
import pytest

GROUPED, OWN = (os.environ["SCHEDULER"] == name for name in ("loadgroup", "perfcache"))

def case(index, seconds, resource):
    marks = []
    if resource and OWN:
        marks.append(pytest.mark.resource(resource))
    if resource and GROUPED:
        marks.append(pytest.mark.xdist_group(resource))
    return pytest.param(seconds, resource, id=str(index), marks=marks)

@contextlib.contextmanager
def held(resource):
    if not resource:
        yield
        return
    with open(resource + ".lock", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

@pytest.mark.parametrize("seconds, resource", [case(*each) for each in {cases}])
def test_sleep(seconds, resource):
    with held(resource), open(os.environ["STAMPS"], "a", buffering=1) as file:
        start = time.monotonic()
        time.sleep(seconds)
        file.write(f"{{os.getpid()}} {{start}} {{time.monotonic()}}\\n")
"""


class Cell(NamedTuple):
    """A suite and the number of workers."""

    shape: str
    workers: int


@dataclass(frozen=True, slots=True)
class Run:
    """Wall seconds of a whole run, and its efficiency without start-up. `round` is unique among all that are kept."""

    round: str
    shape: str
    workers: int
    scheduler: str
    seconds: float
    efficiency: float

    @property
    def cell(self) -> Cell:
        return Cell(self.shape, self.workers)


def main(arguments: Sequence[str]) -> None:
    """Run all schedulers on all suites and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scheduling real", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=(2, 4, 8))
    parser.add_argument("--suites", nargs="*", default=DEFAULT_SHAPES, choices=list(SHAPES))
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--results", type=Path, default=default_work() / "results" / "scheduling.jsonl")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are kept")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args(arguments)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        options.results.unlink(missing_ok=True)
    cells = [Cell(shape, workers) for shape in options.suites for workers in options.workers]
    try:
        measure(cells, options.repeat, options.results)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    text = page(read(options.results), "python -m benchmarks scheduling real")
    print(text)
    if options.write_docs:
        put(PAGE, "real runs", text)


def measure(cells: Sequence[Cell], repeat: int, results: Path) -> None:
    """Run that many rounds; every run is appended to the results, and printed, when it has ended."""
    begin = f"{time.time():.0f}"
    with TemporaryDirectory() as scratch:
        for number in range(repeat):
            for cell in cells:
                directory = Path(scratch, f"{cell.shape}-{cell.workers}".replace(" ", "-"))
                if not directory.exists():
                    prepare(directory, suite_of(cell))
                turn = number % len(SCHEDULERS)
                for scheduler in (*SCHEDULERS[turn:], *SCHEDULERS[:turn]):
                    seconds, efficiency = run_suite(directory, cell.workers, scheduler)
                    run = Run(f"{begin}-{number}", *cell, scheduler, seconds, efficiency)
                    with results.open("a") as file:
                        file.write(f"{json.dumps(asdict(run))}\n")
                    print(f"{number + 1}/{repeat} {cell.shape} {cell.workers} {scheduler}: {shown([run])}", flush=True)


def suite_of(cell: Cell) -> Modules:
    """The same for the same cell."""
    return SHAPES[cell.shape](Random(cell.shape), cell.workers)


def read(results: Path) -> list[Run]:
    """The runs that are kept."""
    return [Run(**json.loads(line)) for line in results.read_text().splitlines()] if results.exists() else []


def page(runs: Sequence[Run], command: str) -> str:
    """The section of the documentation page; whole rounds alone count."""
    by_cell: defaultdict[Cell, dict[str, dict[str, Run]]] = defaultdict(dict)
    for run in runs:
        by_cell[run.cell].setdefault(run.round, {})[run.scheduler] = run
    rows = []
    for cell, rounds in by_cell.items():
        whole = [found for found in rounds.values() if len(found) == len(SCHEDULERS)]
        if whole:
            rows.append(tuple(_row(cell, whole)))
    header = ("suite", "workers", "rounds", "bound", *SCHEDULERS, "ours over the best of the others", "by round")
    told = f"Made by `{command}` with {os.cpu_count()} cores: median seconds of a run, in brackets the efficiency."
    return f"{told}\n\n{table(header, rows)}"


def _row(cell: Cell, rounds: Sequence[Mapping[str, Run]]) -> Iterator[str]:
    yield cell.shape
    yield str(cell.workers)
    yield str(len(rounds))
    yield f"{lower_bound(suite_of(cell), cell.workers):.2f}"
    yield from (shown([found[scheduler] for found in rounds]) for scheduler in SCHEDULERS)
    middle = {scheduler: median(found[scheduler].seconds for found in rounds) for scheduler in SCHEDULERS}
    yield f"{middle[PERFCACHE] / min(middle[other] for other in OTHERS):.2f}"
    yield f"{median(map(ratio, rounds)):.2f}"


def ratio(found: Mapping[str, Run]) -> float:
    """Our seconds over those of the best of the others, in one round."""
    return found[PERFCACHE].seconds / min(found[other].seconds for other in OTHERS)


def shown(runs: Sequence[Run]) -> str:
    """Median seconds and efficiency."""
    return f"{median(run.seconds for run in runs):.2f} ({median(run.efficiency for run in runs):.2f})"


def prepare(directory: Path, modules: Modules) -> None:
    """Write a test file for each module and what is known of durations; no scheduler pays for compiling."""
    directory.mkdir()
    estimates: dict[str, float] = {}
    for number, module in enumerate(modules):
        file = f"test_{number}.py"
        cases = [(index, *test) for index, test in enumerate(module)]
        (directory / file).write_text(TEST_MODULE.format(cases=cases))
        estimates |= {f"{file}::test_sleep[{index}]": test.seconds for index, test in enumerate(module)}
    (directory / "estimates.json").write_text(json.dumps(estimates))
    (directory / "pytest.ini").write_text("[pytest]\n")
    _pytest(directory, PERFCACHE, "--collect-only", "-p", "benchmarks.scheduling.wired")


def run_suite(directory: Path, workers: int, scheduler: str) -> tuple[float, float]:
    """Seconds and efficiency of one run; raises CalledProcessError when a test failed."""
    (directory / "stamps.txt").write_text("")
    own = ("-p", "benchmarks.scheduling.wired") if scheduler == PERFCACHE else ("--dist", scheduler)
    start = time.monotonic()
    _pytest(directory, scheduler, "-n", str(workers), *own)
    return time.monotonic() - start, efficiency((directory / "stamps.txt").read_text().splitlines(), workers)


def _pytest(directory: Path, scheduler: str, *options: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:perfcache", "-p", "no:cacheprovider", *options]
    stamps = str(directory / "stamps.txt")
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "STAMPS": stamps, "SCHEDULER": scheduler}
    environ["PERFCACHE_TEST_GRADUAL"] = "1"
    subprocess.run(command, cwd=directory, env=environ, check=True, capture_output=True)


def efficiency(lines: Sequence[str], workers: int) -> float:
    """Time in tests over the workers' time since their first test; who had none is counted with the last to begin.

    A line holds the process, the start and the end of a test.
    """
    spans = [(pid, float(start), float(end)) for pid, start, end in map(str.split, lines)]
    first: dict[str, float] = {}
    for pid, start, _ in spans:
        first[pid] = min(start, first.get(pid, start))
    begins = [*first.values(), *[max(first.values())] * (workers - len(first))]
    last = max(end for _, _, end in spans)
    return sum(end - start for _, start, end in spans) / sum(last - begin for begin in begins)
