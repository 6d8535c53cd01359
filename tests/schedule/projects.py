"""Projects whose tests write down when they run, and what can be read from that."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

STAMPED: Final = """
import os, pytest, time, contextlib
import sys
sys.dont_write_bytecode = True

def stamp(kind, name):
    line = f"{kind} {name} {time.monotonic()} {os.getpid()}\\n"
    with open(os.environ["STAMPS"], "a", buffering=1) as file:
        file.write(line)

def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

@contextlib.contextmanager
def stamped(name, seconds=0.01):
    stamp("start", name)
    time.sleep(seconds)
    try:
        yield
    finally:
        stamp("end", name)
"""


@dataclass(frozen=True)
class Span:
    """What was going on, from when to when, in which process."""

    name: str
    start: float
    end: float
    pid: int


class Project:
    """A directory of tests that write down when they run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamps = path / "stamps.txt"
        (path / "stamped.py").write_text(STAMPED)
        (path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text("import os, pytest, time\nfrom stamped import stamp, stamped\n" + text)

    def run(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.stamps.write_text("")
        command = [sys.executable, "-m", "pytest", "-p", "benchmarks.scheduling.wired", "-p", "no:perfcache"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return subprocess.run(
            [*command, "-p", "no:cacheprovider", "-v", *args],
            cwd=self.path,
            env={**inherited, "PYTHONPATH": str(ROOT), "STAMPS": str(self.stamps), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def spans(self) -> list[Span]:
        """What ended, in the order of starts."""
        open_: dict[tuple[str, str], float] = {}
        spans = []
        for line in self.stamps.read_text().splitlines():
            kind, name, moment, pid = line.split()
            if kind == "start":
                open_[name, pid] = float(moment)
            else:
                spans.append(Span(name, open_.pop((name, pid)), float(moment), int(pid)))
        return sorted(spans, key=lambda span: span.start)

    def started(self) -> list[str]:
        return [line.split()[1] for line in self.stamps.read_text().splitlines() if line.startswith("start")]


def most_at_once(spans: list[Span]) -> int:
    """The largest number of spans that lie over one moment."""
    edges = sorted([(span.start, 1) for span in spans] + [(span.end, -1) for span in spans])
    now = most = 0
    for _, change in edges:
        now += change
        most = max(most, now)
    return most


def outcomes(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The counts of the last line."""
    words = run.stdout.strip().splitlines()[-1].replace(",", "").split()
    kinds = {"passed", "failed", "error", "errors", "skipped"}
    return {word: int(words[index - 1]) for index, word in enumerate(words) if word in kinds}
