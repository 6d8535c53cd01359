"""A first run has its modules marked by a process beside it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from pytest_perfcache.trace.codestore import CodeStore
from tests.run.projects import Project

if sys.version_info >= (3, 14):
    pytest.skip("3.14 and later have sys.monitoring instead of marks", allow_module_level=True)
if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
    pytest.skip("there is no second core here", allow_module_level=True)

NEVER_IMPORTED = "def nobody():\n    return 0\n"
PATIENCE = 60.0
"""Seconds within which the process is done, however busy the machine is."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    (made.path / "shop").mkdir()
    for number in range(12):
        (made.path / "shop" / f"part_{number}.py").write_text(NEVER_IMPORTED)
    (made.path / "shop" / "cart.py").write_text("def total():\n    return 3\n")
    made.write(
        test_cart="""
import os
from shop.cart import total
def test_total():
    assert total() == 3
def test_nothing_runs_that_could_be_waited_for():
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
"""
    )
    return made


def home_of(project: Project) -> CodeStore:
    return CodeStore(str(project.path / ".perfcache"))


def wait_for_marks(project: Project) -> None:
    deadline = time.monotonic() + PATIENCE
    while home_of(project).is_new:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_modules_are_marked_that_the_run_itself_never_loads(project: Project) -> None:
    slow = "import time\ndef test_slow():\n    time.sleep(2)\n"
    (project.path / "test_slow.py").write_text(slow)
    run = project.start()
    wait_for_marks(project)
    assert len(run.wait().ran) == 3
    code = compile(NEVER_IMPORTED, str(project.path / "shop" / "part_0.py"), "exec", dont_inherit=True)
    assert home_of(project).get("shop/part_0.py", code) is not None


def test_what_was_marked_beside_the_run_is_seen_to_run(project: Project) -> None:
    project.run("--collect-only")
    assert not (project.path / ".perfcache").exists()
    assert len(project.run().ran) == 2
    assert project.run().ran == []
    (project.path / "shop" / "cart.py").write_text("def total():\n    return 4\n")
    edited = project.run()
    assert edited.ran == ["test_cart.py::test_total"]
    assert edited.code == 1


def test_a_project_of_few_modules_is_marked_by_the_run_itself(tmp_path: Path) -> None:
    small = Project(tmp_path / "small")
    small.write(test_one="def test_one():\n    pass\n")
    assert small.run().code == 0
    assert home_of(small).is_new


def test_a_directory_that_can_not_be_used_is_told_once(project: Project) -> None:
    (project.path / ".perfcache").write_text("a file")
    run = project.run()
    assert run.code == 0
    assert run.output.count("PerfcacheWarning") == 1
