"""Projects whose tests run in sessions of their own, with the plugin and without this session's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.schedule.projects import ROOT, STAMPED, Span


class Project:
    """A directory of tests that write down when they start and end."""

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self.path = path
        self.write(stamped=STAMPED)
        self.ini("")

    def ini(self, lines: str) -> None:
        (self.path / "pytest.ini").write_text(f"[pytest]\npythonpath = .\n{lines}\n")

    def write(self, **modules: str) -> None:
        for name, text in modules.items():
            head = "" if name == "stamped" else "import pytest\nfrom stamped import stamped\n"
            (self.path / f"{name}.py").write_text(head + text)

    def run(self, *args: str, **environ: str) -> Run:
        return self.start(*args, **environ).wait()

    def start(self, *args: str, **environ: str) -> Running:
        """Begin a run in a process group of its own."""
        stamps, report = self.path.with_suffix(".stamps"), self.path.with_suffix(".json")
        stamps.write_text("")
        report.unlink(missing_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        command = [sys.executable, "-m", "pytest", "-v", "-p", "xdist.plugin", "-p", "pytest_perfcache.plugin"]
        said = [self.path.with_suffix(suffix) for suffix in (".out", ".err")]
        # Files, because a pipe that nobody reads yet makes a run wait that says much, and ssh makes one fail.
        with said[0].open("w") as output, said[1].open("w") as errors:
            started = subprocess.Popen(
                [*command, "-p", "no:cacheprovider", f"--perfcache-report=json:{report}", *args],
                cwd=self.path,
                env={
                    **kept,
                    "PYTHONPATH": str(ROOT),
                    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                    "STAMPS": str(stamps),
                    "TMPDIR": str(self.path.parent),
                    **environ,
                },
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        return Running(started, stamps, report, said)


class Running:
    """A session that may still run."""

    def __init__(self, process: subprocess.Popen[bytes], stamps: Path, report: Path, said: list[Path]) -> None:
        self.process = process
        self._said = said
        self.stamps = stamps
        self._report = report

    def wait(self) -> Run:
        """How it ended; one that does not is killed with all its children."""
        try:
            self.process.wait(timeout=120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        document = json.loads(self._report.read_text()) if self._report.exists() else {}
        output = "".join(path.read_text(errors="replace") for path in self._said)
        return Run(self.process.returncode, output, document, self.stamps.read_text())

    def kill(self) -> None:
        """Kill the process that was started, and not those that it started."""
        self.process.kill()
        self.process.wait()


class Run:
    """How one session ended."""

    def __init__(self, code: int, output: str, document: dict[str, Any], stamps: str) -> None:
        self.code = code
        self.output = output
        self.document = document
        self.spans = spans_of(stamps)
        self.order = [line.split()[1] for line in stamps.splitlines() if line.startswith("start")]

    @property
    def workers(self) -> int:
        """How many were started."""
        _, found, rest = self.output.partition("created: ")
        return int(rest.partition("/")[0]) if found else 0

    @property
    def tests(self) -> dict[str, tuple[str, str, str]]:
        """Verdict, reason and outcome by node id."""
        tests = self.document["tests"]
        return {nodeid: (test["verdict"], test["reason"], test["outcome"]) for nodeid, test in tests.items()}

    @property
    def ran(self) -> list[str]:
        return sorted(nodeid for nodeid, test in self.tests.items() if test[0] == "run")


def spans_of(stamps: str) -> list[Span]:
    starts: dict[str, float] = {}
    spans = []
    for line in stamps.splitlines():
        kind, name, moment, pid = line.split()
        if kind == "start":
            starts[name] = float(moment)
        else:
            spans.append(Span(name, starts[name], float(moment), int(pid)))
    return spans


def stamping(*names: str, seconds: float = 0.01, mark: str = "") -> str:
    """A module with one test a name."""
    return "".join(
        f"{mark}\ndef test_{name}():\n    with stamped({name!r}, {seconds}):\n        pass\n" for name in names
    )


def numbered(count: int, seconds: float = 0.01) -> str:
    """A module with one parametrized test."""
    body = f"    with stamped(n, {seconds}):\n        pass\n"
    return f'@pytest.mark.parametrize("n", range({count}))\ndef test_n(n):\n{body}'
