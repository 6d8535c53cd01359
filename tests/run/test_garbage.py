"""Less garbage collection, and nothing that a project could notice."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_perfcache.run.garbage import undisturbed
from tests.schedule.projects import ROOT

CYCLES = """\
import gc, weakref

class Cycle:
    def __init__(self): self.me = self

class Loud(Cycle):
    def __del__(self): raise ValueError("at the end")

class Second(Cycle):
    def __del__(self): Loud()

def chain():
    gc.disable()
    Second()
"""


class Project:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("pytest.ini", "[pytest]\npythonpath = .\n")
        self.write("cycles.py", CYCLES)

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def run(self, *args: str, version: str = "pytest.version_tuple") -> subprocess.CompletedProcess[str]:
        """``version``: what the session takes pytest's for, as an expression."""
        session = f"import sys, pytest; pytest.version_tuple = {version}; sys.exit(pytest.main(sys.argv[1:]))"
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-c", session, "-p", "xdist.plugin", "-p", "pytest_perfcache.plugin", *args],
            cwd=self.path,
            env={**kept, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def unraisable(done: subprocess.CompletedProcess[str]) -> list[str]:
    said = re.sub(r" at 0x[0-9a-f]+", "", done.stdout + done.stderr)
    return re.findall(r"PytestUnraisableExceptionWarning.*|ValueError: .*", said)


@pytest.mark.parametrize("version", ["pytest.version_tuple", "(9, 0)"])
@pytest.mark.parametrize("args", [(), ("-W", "error")])
def test_what_an_object_raises_when_it_goes_at_the_end_is_told(
    project: Project, args: tuple[str, ...], version: str
) -> None:
    project.write("test_a.py", "import cycles\ndef test_a(): cycles.chain()\n")
    plain, ours = project.run("--no-perfcache", *args), project.run(*args, version=version)

    assert "ValueError: at the end" in unraisable(plain)
    assert (ours.returncode, unraisable(ours)) == (plain.returncode, unraisable(plain))


@pytest.mark.parametrize(("version", "sweeps"), [("(9, 0)", True), ("(9, 2)", False)])
def test_garbage_is_collected_in_the_place_of_pytest_only_where_pytest_goes_on(
    project: Project, version: str, sweeps: bool
) -> None:
    project.write(
        "conftest.py",
        "import gc, sys\n"
        "def note(phase, info):\n"
        "    if phase == 'start' and sys._getframe(1).f_code.co_name == 'sweep': print('SWEPT')\n"
        "gc.callbacks.append(note)\n",
    )
    project.write("test_a.py", "import cycles\ndef test_a(): cycles.Cycle()\n")

    done = project.run("-s", version=version)

    assert "1 passed" in done.stdout
    assert ("SWEPT" in done.stdout) is sweeps


def test_objects_of_the_project_are_collected_as_ever(project: Project) -> None:
    project.write("conftest.py", "import cycles\nheld = [cycles.Cycle()]\n")
    project.write(
        "test_a.py",
        "import gc, weakref, conftest, cycles\n"
        "module_level = [cycles.Cycle()]\n"
        "def test_a():\n"
        "    assert gc.get_freeze_count() > 10_000\n"
        "    for held in (conftest.held, module_level):\n"
        "        reference = weakref.ref(held[0])\n"
        "        assert any(found is held[0] for found in gc.get_objects())\n"
        "        held.clear()\n"
        "        gc.collect()\n"
        "        assert reference() is None\n",
    )
    done = project.run()
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("args", ["-p no:perfcache", ""])
def test_a_session_within_a_test_sets_nothing_apart(project: Project, args: str) -> None:
    project.write("inner.py", "def test_inner(): pass\n")
    project.write(
        "test_a.py",
        "import gc, pytest\n"
        "def test_a():\n"
        "    before = gc.get_freeze_count()\n"
        "    assert pytest.main(['inner.py', '-p', 'pytest_perfcache.plugin']) == 0\n"
        "    assert gc.get_freeze_count() <= before\n",
    )
    done = project.run(*args.split(), "test_a.py")
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("enabled", [False, True])
def test_nobody_finds_the_collector_otherwise_than_it_was(enabled: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with suppress(ValueError), undisturbed():
            assert not gc.isenabled()
            raise ValueError
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


COUNTING = """\
import gc, sys
PASSES = []
def note(phase, about):
    if phase == "stop" and about["generation"] == 2: PASSES.append(about)
gc.callbacks.append(note)
"""
MANY = "import conftest\nrows = [[number] for number in range(400_000)]\n"


@pytest.mark.parametrize(("args", "passes"), [("--no-perfcache", True), ("", False)])
def test_while_tests_are_collected_what_is_old_is_not_looked_through(project: Project, args: str, passes: bool) -> None:
    project.write("conftest.py", COUNTING)
    project.write(
        "test_a.py",
        f"{MANY}seen = len(conftest.PASSES)\n"
        "def test_a():\n"
        f"    assert (seen > 0) is {passes}\n"
        f"    assert conftest.gc.get_threshold() == {gc.get_threshold()}\n",
    )
    done = project.run(*args.split(), "-p", "no:cacheprovider")
    assert "1 passed" in done.stdout, done.stdout


def test_who_collects_while_tests_are_collected_finds_everything(project: Project) -> None:
    project.write("conftest.py", COUNTING)
    project.write(
        "test_a.py",
        f"{MANY}import weakref, cycles\n"
        "old = cycles.Cycle()\n"
        "reference = weakref.ref(old)\n"
        "del old\n"
        "conftest.gc.collect()\n"
        "def test_a():\n"
        "    assert len(conftest.PASSES) == 1\n"
        "    assert reference() is None\n",
    )
    done = project.run()
    assert "1 passed" in done.stdout, done.stdout


def test_thresholds_that_the_project_sets_stay(project: Project) -> None:
    project.write(
        "test_a.py",
        "import gc\ngc.set_threshold(500, 5, 5)\ndef test_a(): assert gc.get_threshold() == (500, 5, 5)\n",
    )
    done = project.run()
    assert "1 passed" in done.stdout, done.stdout
