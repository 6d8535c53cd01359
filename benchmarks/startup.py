"""`python -m benchmarks startup`: what starting costs, over an empty pytest run, and which imports it goes into.

Runs all ways in turn in a small project of its own, so that a slow spell of the machine falls on all of them.
Processor time (user and system, of the process and its children) is steadier than wall time on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.generated import small_project
from benchmarks.tables import REPOSITORY, put, table

PAGE = REPOSITORY / "docs" / "explanation" / "profile.md"
TESTS = 100
EMPTY = "an empty run without the plugin"
WAYS = {
    EMPTY: ("-p", "no:perfcache", "empty"),
    "collecting, without the plugin": ("-p", "no:perfcache", "--collect-only"),
    "an empty run with `--no-perfcache`": ("--no-perfcache", "empty"),
    "an empty run": ("empty",),
    "an unchanged run": (),
}
SETUP = """\
import sys
from pytest_perfcache.trace.handover import Setup
Setup(sys.argv[1], ()).write(sys.argv[2])
"""
PROGRAMS = {
    "a child process": "",
    "a child process, traced": "from pytest_perfcache import child; child.begin()",
}


class Sample(NamedTuple):
    """Seconds of one process."""

    processor: float
    wall: float


def run(project: Path, *command: str, **environ: str) -> tuple[Sample, str]:
    """One Python process in the project: what it took, and what it said on standard error."""
    dropped = ("PYTHON", "PYTEST_", "PERFCACHE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        cwd=project,
        env={**kept, "PYTHONPATH": str(REPOSITORY), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 5}:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(processor, time.perf_counter() - started), done.stderr


def measure(project: Path, python: str, rounds: int) -> dict[str, list[Sample]]:
    """All ways in turn, after the first run of each."""
    handover = project / "handover"
    handover.mkdir()
    setup = (
        "from pytest_perfcache.trace.handover import Setup; import sys; Setup(*sys.argv[1:2], ()).write(sys.argv[2])"
    )
    run(project, python, "-c", setup, str(project), str(handover / "setup"))
    run(project, python, "-m", "pytest", "-q")
    samples: dict[str, list[Sample]] = defaultdict(list)
    for number in range(rounds + 1):
        for way, arguments in WAYS.items():
            sample, _ = run(project, python, "-m", "pytest", "-q", *arguments)
            samples[way] += [sample] * bool(number)
        for way, code in PROGRAMS.items():
            sample, _ = run(project, python, "-c", code, PERFCACHE_CHILD=f"1:{handover}" if code else "")
            samples[way] += [sample] * bool(number)
    return samples


def imports(project: Path, python: str, *arguments: str) -> dict[str, int]:
    """Microseconds that each module took to import, without what it imports itself."""
    _, text = run(project, python, "-X", "importtime", "-m", "pytest", "-q", *arguments)
    rows = (line.split("|") for line in text.splitlines() if line.startswith("import time:") and "[us]" not in line)
    return {name.strip(): int(own.removeprefix("import time:")) for own, _, name in rows}


def share_by_room(ours: dict[str, int]) -> list[tuple[str, int, int]]:
    """Name, modules and microseconds of each room of the plugin and of each other package, the slowest first."""
    rooms: dict[str, list[int]] = defaultdict(list)
    for name, spent in ours.items():
        parts = name.split(".")
        room = ".".join(parts[: 2 if parts[0] == "pytest_perfcache" else 1])
        rooms[f"`{room}`"].append(spent)
    found = [(room, len(times), sum(times)) for room, times in rooms.items()]
    return sorted(found, key=lambda row: -row[2])


def page(samples: dict[str, list[Sample]], rooms: list[tuple[str, int, int]], rounds: int, version: str) -> str:
    """The generated part of the page."""
    base = samples[EMPTY]
    rows = []
    for way, own in samples.items():
        over = [median(mine[at] / other[at] for mine, other in zip(own, base, strict=True)) for at in (0, 1)]
        times = [f"{1000 * median(sample[at] for sample in own):.0f}" for at in (0, 1)]
        rows.append((way, times[0], f"{over[0]:.2f}", times[1], f"{over[1]:.2f}"))
    total = sum(row[2] for row in rooms)
    shares = [(room, str(count), f"{100 * spent / total:.0f} %") for room, count, spent in rooms[:12]]
    return "\n".join(
        [
            f"Made by `python -m benchmarks startup --rounds {rounds}` on Python {version}:",
            f"a project of {TESTS} small tests, medians of all ways taken in turn.",
            "",
            table(("", "processor, ms", "over empty", "wall, ms", "over empty"), rows),
            "",
            f"What an unchanged run imports that plain pytest does not: {sum(row[1] for row in rooms)} modules, by",
            "`-X importtime` (which slows imports down; the shares count).",
            "",
            table(("imported", "modules", "share of the time"), shares),
        ]
    )


def main(arguments: list[str]) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks startup", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with the plugin installed")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {PAGE.name}")
    options = parser.parse_args(arguments)
    with small_project(TESTS) as project:
        samples = measure(project, options.python, options.rounds)
        plain = imports(project, options.python, "-p", "no:perfcache")
        ours = imports(project, options.python)
    rooms = share_by_room({name: spent for name, spent in ours.items() if name not in plain})
    version = subprocess.run(
        [options.python, "-c", "import platform; print(platform.python_version())"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    text = page(samples, rooms, options.rounds, version)
    print(text)
    if options.write_docs:
        put(PAGE, "startup", text)
    return 0
