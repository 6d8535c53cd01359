"""`python -m benchmarks guard`: fails when the plugin costs much more than it did, on a small suite.

All ways run in turn in a project of their own, and are compared within the same round by processor time, which is
steadier than wall time where other work goes on. The limits are far above what is measured on a quiet machine, so that
only a change of kind is caught: an unchanged run that imports the tests again, a recording that is quadratic.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.generated import small_project
from benchmarks.startup import run
from benchmarks.tables import table

TESTS = 500
PLAIN, EMPTY, RECORDING, UNCHANGED, EDITED = "plain", "empty run", "recording", "unchanged", "one body edited"
EDITED_FILE = "src/generated/part0000.py"


class Limit(NamedTuple):
    """`way` may take so many times what `base` takes, in processor time."""

    way: str
    base: str
    times: float


LIMITS = (Limit(RECORDING, PLAIN, 2.0), Limit(UNCHANGED, EMPTY, 1.8), Limit(EDITED, PLAIN, 1.3))


def measure(project: Path, python: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time by way, after a first round that only warms up."""
    spent: dict[str, list[float]] = defaultdict(list)
    source = project / EDITED_FILE
    original = source.read_text()

    def once(way: str, *arguments: str) -> None:
        spent[way].append(run(project, python, "-m", "pytest", "-q", *arguments)[0].processor)

    for _ in range(rounds + 1):
        shutil.rmtree(project / ".perfcache", ignore_errors=True)
        once(PLAIN, "-p", "no:perfcache")
        once(EMPTY, "-p", "no:perfcache", "empty")
        once(RECORDING)
        once(UNCHANGED)
        source.write_text(original.replace("values = []", "values = list()", 1))
        once(EDITED)
        source.write_text(original)
    return {way: seconds[1:] for way, seconds in spent.items()}


def main(arguments: list[str]) -> int:
    """Measure, print the ratios, and exit with 1 where one is above its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks guard", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with the plugin installed")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    with small_project(TESTS) as project:
        spent = measure(project, options.python, options.rounds)
    rows, above = [], False
    for limit in LIMITS:
        ratio = median(mine / base for mine, base in zip(spent[limit.way], spent[limit.base], strict=True))
        above = above or ratio > limit.times
        rows.append(
            (limit.way, limit.base, f"{ratio:.2f}", f"{limit.times:.2f}", "above" if ratio > limit.times else "ok")
        )
    print(table(("way", "over", "times", "at most", ""), rows))
    return int(above)
