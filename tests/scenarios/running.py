"""Runs a scenario and holds it against what was expected."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest_perfcache
from tests.scenarios.language import Case, Run
from tests.scenarios.project import Project

_PLUGINS: Final = ("perfcache", "xdist")
"""Loaded by name; nothing else that happens to be installed is."""
_WORKERS: Final = ("-n", "2")
_DISTRIBUTION: Final = "pytest_perfcache-0.dist-info"
_LAST_LINE: Final = re.compile(r"=*\s*(.+?) in \d[\d.]*s.*?\s*=*")
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")


@dataclass(frozen=True, slots=True)
class Told:
    """What one test did, as the report tells it; ``outcome`` is ``cached`` for a hit."""

    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Session:
    """How a session of pytest ended."""

    exit: int
    output: str
    tests: Mapping[str, Told]

    @property
    def last_line(self) -> str:
        lines = [_COLOUR.sub("", line) for line in self.output.splitlines() if line.strip()]
        match = _LAST_LINE.fullmatch(lines[-1]) if lines else None
        return match[1] if match else "\n".join(lines[-1:])


class Zygote:
    """The forking process, see ``zygote.py``."""

    def __init__(self, process: subprocess.Popen[str], environ: Mapping[str, str]) -> None:
        self._process = process
        self.environ = environ

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator[Zygote]:
        """``directory``: where a missing installation is made up for."""
        environ = _environ(directory)
        script = Path(__file__).with_name("zygote.py")
        with subprocess.Popen(
            [sys.executable, str(script)],
            env=environ,
            cwd=directory,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            zygote = cls(process, environ)
            assert zygote._answer() == "ready"
            yield zygote
            assert process.stdin is not None
            process.stdin.close()

    def run(self, project: Project, args: tuple[str, ...]) -> Session:
        output, report = project.home / "output.txt", project.home / "report.json"
        report.unlink(missing_ok=True)
        assert self._process.stdin is not None
        request = {
            "args": [*args, *(part for plugin in _PLUGINS if f"no:{plugin}" not in args for part in ("-p", plugin))],
            "environ": {**project.environ, "PERFCACHE_REPORT": f"json:{report}"},
            "directory": str(project.root / project.directory),
            "output": str(output),
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        code = int(self._answer())
        return Session(code, output.read_text("utf-8", "replace"), _read(report))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _environ(directory: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    path = [str(Path(pytest_perfcache.__file__).parent.parent)]
    if not entry_points(group="pytest11", name="perfcache"):
        (directory / _DISTRIBUTION).mkdir()
        (directory / _DISTRIBUTION / "METADATA").write_text("Name: pytest-perfcache\nVersion: 0\n", "utf-8")
        (directory / _DISTRIBUTION / "entry_points.txt").write_text(
            "[pytest11]\nperfcache = pytest_perfcache.plugin\n", "utf-8"
        )
        path.append(str(directory))
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _read(report: Path) -> dict[str, Told]:
    if not report.exists():
        return {}
    tests = json.loads(report.read_text("utf-8"))["tests"]
    return {
        nodeid: Told("cached" if test["verdict"] == "hit" else test["outcome"], test["reason"])
        for nodeid, test in tests.items()
    }


def play(case: Case, home: Path, zygote: Zygote, *, workers: bool) -> None:
    """All steps of a case in their order; AssertionError at the first session that is not as expected."""
    project = Project(home, zygote.environ)
    configured = False
    for step in case.steps:
        if not isinstance(step, Run):
            project.do(step)
            continue
        if not configured:
            project.configure()
            configured = True
        session = zygote.run(project, (*step.args, *_WORKERS) if workers else step.args)
        wrong = list(differences(step, session))
        assert not wrong, _message(case, step, session, wrong)


def differences(run: Run, session: Session) -> Iterator[str]:
    """Every way in which a session is not what the scenario says, in words."""
    seen: dict[str, str] = {}
    for expected in run.tests:
        nodeids = [nodeid for nodeid in session.tests if _is_named(nodeid, expected.name)]
        if len(nodeids) != 1:
            yield f"{expected.name} should be {expected.outcome}; {len(nodeids)} tests have that name"
            continue
        told = session.tests[nodeids[0]]
        if nodeids[0] in seen:
            yield f"{expected.name} is named twice"
        seen[nodeids[0]] = expected.name
        if told.outcome != expected.outcome:
            yield f"{expected.name} should be {expected.outcome} ({expected.reason or 'a hit'})"
        elif expected.reason not in told.reason:
            yield f"{expected.name} should have run because: {expected.reason}"
    yield from (f"{nodeid} should not be there" for nodeid in session.tests if nodeid not in seen)
    if session.exit != run.exit:
        yield f"the exit code should be {run.exit}, not {session.exit}"
    if run.last_line is not None and session.last_line != run.last_line:
        yield f"the last line should be {run.last_line!r}, not {session.last_line!r}"
    output = _COLOUR.sub("", session.output)
    yield from (f"it should say: {text}" for text in run.says if text not in output)
    yield from (f"it should not say: {text}" for text in run.says_not if text in output)


def _is_named(nodeid: str, name: str) -> bool:
    return nodeid == name or nodeid.endswith((f"::{name}", f"/{name}"))


def _message(case: Case, run: Run, session: Session, wrong: list[str]) -> str:
    tests = [f"  {told.outcome} {nodeid} ({told.reason})" for nodeid, told in session.tests.items()]
    return "\n".join(
        [
            f"{case.file}:{run.line}: [run {' '.join(run.args)}]",
            *(f"* {line}" for line in wrong),
            "what happened:",
            *(tests or ["  no test is in the report"]),
            session.output,
        ]
    )
