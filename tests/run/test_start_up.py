"""What starting costs, counted in modules: what a run or a traced child process imports because of the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_perfcache.child import VARIABLE
from pytest_perfcache.trace.children import SETUP
from pytest_perfcache.trace.handover import Handover, Setup
from tests.schedule.projects import ROOT

OWN = "pytest_perfcache"
PLUGIN = ("-p", f"{OWN}.plugin")
HEAVY = frozenset(
    """
    ast asyncio concurrent.futures dataclasses execnet fractions inspect json multiprocessing psutil random secrets
    sqlite3 statistics sysconfig tempfile xdist
    """.split()
)


def imported(project: Path, *command: str, **environ: str) -> frozenset[str]:
    """The modules that a Python process imports from its start to its end, those it hides again included."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environ = {**kept, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environ}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.rpartition("|") for line in done.stderr.splitlines() if line.startswith("import time:"))
    return frozenset(name.strip() for _, _, name in lines)


def because_of_plugin(project: Path, *options: str) -> frozenset[str]:
    """What a run imports that it would not import without the plugin."""
    arguments = ("-m", "pytest", "-p", "no:cacheprovider")
    return imported(project, *arguments, *PLUGIN, *options) - imported(project, *arguments)


def own(modules: frozenset[str]) -> frozenset[str]:
    return frozenset(name.removeprefix(f"{OWN}.") for name in modules if name.partition(".")[0] == OWN)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_one.py").write_text("def test_one():\n    pass\n")
    return tmp_path


@pytest.mark.parametrize("option", ["--no-perfcache", "--collect-only", "--version", "--help"])
def test_a_run_that_takes_no_part_imports_little_more_than_its_options(project: Path, option: str) -> None:
    modules = because_of_plugin(project, option)

    assert not modules & HEAVY
    assert own(modules) <= {
        "",
        OWN,
        "errors",
        "hookspecs",
        "plugin",
        "run",
        "run.config",
        "run.faults",
        "run.starting",
        "settings",
    }


def test_an_unchanged_run_imports_what_it_needs_to_decide(project: Path) -> None:
    because_of_plugin(project)
    observed, modules = because_of_plugin(project), because_of_plugin(project)

    assert modules & HEAVY <= {"sqlite3"}
    assert not {name for name in own(modules) if name.startswith("trace")}
    assert not own(observed | modules) & {
        "facts.source",
        "run.distributing",
        "run.replaying",
        "run.serial",
        "run.sharding",
        "run.verifying",
        "run.worker_count",
        "run.workers",
        "schedule.assignment",
        "schedule.order",
        "schedule.xdist_scheduler",
    }
    assert len(own(observed)) <= 108
    assert len(own(modules)) <= 65


def test_only_sessions_with_workers_import_the_scheduler_of_workers(project: Path) -> None:
    assert "schedule.xdist_scheduler" in own(because_of_plugin(project, "-p", "xdist.plugin", "-n", "2", "--dist=load"))


def test_a_traced_child_imports_little_beside_what_observes_it(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ticket = tmp_path_factory.mktemp("handover")
    Setup(str(project), (str(ticket),)).write(str(ticket / SETUP))
    begin = ("-c", f"from {OWN} import child; child.begin()")
    modules = imported(project, *begin, **{VARIABLE: f"1:{ticket}"}) - imported(project, "-c", "pass")

    assert Handover.decode((ticket / "1.trace").read_bytes()).environment == sys.prefix
    assert not modules & (HEAVY | {"importlib.metadata", "pathlib", "urllib.parse"})
    assert not own(modules) & {"facts.source", "facts.world", "settings"}
    assert len(modules) <= 95


def test_modules_that_every_run_imports_define_no_dataclasses(project: Path) -> None:
    """Each takes half a millisecond to define, eight times as long as a named tuple."""
    because_of_plugin(project)
    names = sorted(name for name in because_of_plugin(project) if name.startswith(f"{OWN}."))
    code = f"""
import importlib
for name in {names}:
    module = importlib.import_module(name)
    for value in vars(module).values():
        if getattr(value, '__module__', '') == name and '__dataclass_fields__' in getattr(value, '__dict__', ()):
            print(name, value.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == []
