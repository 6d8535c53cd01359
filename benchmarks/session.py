"""Running pytest on a checkout of a suite and reading back what happened."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from benchmarks.specs import Spec

Tool = Literal["plain", "testmon", "perfcache"]
PROBES = Path(__file__).resolve().parent / "probes"
NOT_COPIED = (".perfcache", ".testmondata*", ".pytest_cache", ".hypothesis", "__pycache__")
TIMED_OUT = -int(signal.SIGALRM)
_TOOL_ARGUMENTS: dict[Tool, tuple[str, ...]] = {
    "plain": ("-p", "no:perfcache", "-p", "no:testmon"),
    # A `-m` or `-k` in addopts, which click and packaging have, would turn testmon's selection off.
    "testmon": ("-p", "no:perfcache", "--testmon", "--testmon-forceselect"),
    "perfcache": (
        "-p",
        "no:testmon",
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the plugin's JSON report says of one test; `duration` in seconds."""

    verdict: str
    reason: str
    outcome: str | None
    duration: float


@dataclass(frozen=True, slots=True)
class Run:
    """One finished pytest process: wall time in seconds, peak memory in bytes, outcomes by node id."""

    returncode: int
    seconds: float
    peak_bytes: int
    outcomes: dict[str, str] = field(default_factory=dict)
    executed: frozenset[str] = frozenset()
    collection_errors: tuple[str, ...] = ()
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def timed_out(self) -> bool:
        """Whether the process was ended at its time limit."""
        return self.returncode == TIMED_OUT


@dataclass(frozen=True, slots=True)
class Checkout:
    """A private copy of a suite's tree with the interpreter of its virtual environment."""

    spec: Spec
    tree: Path
    python: Path

    @property
    def scratch(self) -> Path:
        """A directory beside the tree for logs and reports, so that nothing of ours lies inside it."""
        path = self.tree.with_name(self.tree.name + ".scratch")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def environment(self) -> dict[str, str]:
        """The caller's environment without what would steer Python or pytest, the copy's sources first."""
        dropped = (
            "PYTHON",
            "PYTEST_",
            "PERFCACHE",
            "PERFBENCH",
            "COVERAGE",
            "TESTMON",
            "VIRTUAL_ENV",
            "COLUMNS",
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        source = self.tree / self.spec.source_root
        kept["PYTHONPATH"] = os.pathsep.join((str(source.resolve()), str(PROBES)))
        kept["PERFBENCH_OUTCOMES"] = str(self.scratch / "outcomes.json")
        return kept

    def verify_import(self) -> None:
        """Raise `RuntimeError` when a package under test is not imported from this copy."""
        for name in self.spec.import_names:
            code = f"import {name}; print({name}.__file__)"
            command = [str(self.python), "-c", code]
            found = subprocess.run(
                command, cwd=self.scratch, env=self.environment(), check=True, capture_output=True, text=True
            ).stdout.strip()
            if not Path(found).resolve().is_relative_to(self.tree.resolve()):
                raise RuntimeError(f"{name} is imported from {found}, not from {self.tree}")

    def forget(self) -> None:
        """Remove every cache, ours and others', so that the next run is a first run."""
        for pattern in NOT_COPIED:
            for path in list(self.tree.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def copy_tree(spec: Spec, source: Path, target: Path, python: Path) -> Checkout:
    """Make a fresh copy of `source` at `target` (replaced when it exists), without any caches."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _keep_others_out(target)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return Checkout(spec, target, python)


_LOCKS: dict[Path, TextIO] = {}


def _keep_others_out(target: Path) -> None:
    """Hold `target` until this process ends; `RuntimeError` when another benchmark works in it."""
    if target in _LOCKS:
        return
    lock = target.with_name(f"{target.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RuntimeError(f"another benchmark works in {target}") from None
    _LOCKS[target] = lock


def run_pytest(
    checkout: Checkout,
    tool: Tool,
    *extra: str,
    probes: tuple[str, ...] = ("perfbench_outcomes",),
    arguments: tuple[str, ...] | None = None,
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
) -> Run:
    """Run pytest in `checkout` with one tool active and return what it did.

    `arguments` replaces the suite's own (its paths); `probes` are the recorder plugins to load;
    `timeout` is in seconds, after which the whole process group is killed.
    """
    scratch = checkout.scratch
    report = scratch / "report.json"
    outcomes = scratch / "outcomes.json"
    for stale in (report, outcomes):
        stale.unlink(missing_ok=True)
    command = [str(checkout.python), "-m", "pytest", "-q", *_TOOL_ARGUMENTS[tool]]
    for probe in probes:
        command += ["-p", probe]
    if tool == "perfcache" and probes:
        command.append(f"--perfcache-report=json:{report}")
    command += [*extra, *(checkout.spec.arguments if arguments is None else arguments)]
    returncode, seconds, peak_bytes = measure(
        command,
        cwd=checkout.tree,
        environment=checkout.environment() | (environment or {}),
        log=scratch / f"{tool}.log",
        timeout=timeout,
    )
    seen = _read_json(outcomes)
    return Run(
        returncode,
        seconds,
        peak_bytes,
        outcomes=seen.get("outcomes", {}),
        executed=frozenset(seen.get("executed", ())),
        collection_errors=tuple(seen.get("collection_errors", ())),
        verdicts=read_verdicts(report),
    )


def measure(
    command: list[str], *, cwd: Path, environment: dict[str, str], log: Path, timeout: float | None
) -> tuple[int, float, int]:
    """Run `command` and return its exit status, wall time in seconds and peak resident memory in bytes.

    The peak is the largest of the process and the children it waited for, as `wait4(2)` gives it.
    """
    with log.open("wb") as sink:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status, peak, timed_out = _wait(process, timeout)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    return (TIMED_OUT if timed_out else process.returncode), seconds, peak


def _wait(process: subprocess.Popen[bytes], timeout: float | None) -> tuple[int, int, bool]:
    """Wait for a process by `wait4`; its whole process group is killed after `timeout` seconds."""
    expired = threading.Event()

    def end() -> None:
        expired.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(threading.TIMEOUT_MAX if timeout is None else timeout, end)
    timer.daemon = True
    timer.start()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    return status, usage.ru_maxrss * 1024, expired.is_set()


def read_verdicts(path: Path) -> dict[str, Verdict]:
    """Read the plugin's JSON report, its tests being an object by node id or a list with `nodeid`s."""
    tests = _read_json(path).get("tests", {})
    if isinstance(tests, list):
        tests = {test["nodeid"]: test for test in tests}
    return {
        nodeid: Verdict(
            test["verdict"], test.get("reason") or "", test.get("outcome"), float(test.get("duration") or 0.0)
        )
        for nodeid, test in tests.items()
    }


def _read_json(path: Path) -> dict[str, Any]:
    """An object from a file; empty when the process died before it wrote the file whole."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found
