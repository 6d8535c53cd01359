"""A worker that dies: what it did before is not lost, what it was doing is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.projects import Project, numbered, stamping

DIES = """
import os
def test_dies():
    if os.path.exists("die"):
        os._exit(3)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    (project.path / "die").touch()
    return project


@pytest.mark.parametrize("dist", ["load", "worksteal"])
def test_what_a_worker_ran_before_its_crash_is_cached(project: Project, dist: str) -> None:
    project.write(test_a=numbered(30), test_b=DIES, test_c=stamping(*"xyz"))
    options = ("-n2", f"--dist={dist}", "--perfcache-order=none")
    crashed, second = project.run(*options), project.run(*options)

    assert "crashed while running 'test_b.py::test_dies'" in crashed.output
    assert len(crashed.spans) == 33
    assert second.ran == ["test_b.py::test_dies"]
    (project.path / "die").unlink()
    assert project.run(*options).ran == ["test_b.py::test_dies"]
    assert project.run(*options).ran == []


def test_what_a_worker_ran_before_its_crash_runs_again_when_it_changed(project: Project) -> None:
    project.write(shop="def price():\n    return 1\ndef other():\n    return 2\n")
    project.write(
        test_a="import shop\ndef test_price():\n    assert shop.price()\ndef test_other():\n    shop.other()\n"
    )
    project.write(test_b=DIES)
    project.run("-n1", "--perfcache-order=none")
    project.write(shop="def price():\n    return 3\ndef other():\n    return 2\n")
    second = project.run("-n1")

    assert second.tests["test_a.py::test_price"][:2] == ("run", "changed: block:shop.py::price changed")
    assert second.tests["test_a.py::test_other"][0] == "hit"


@pytest.mark.parametrize("dies", [True, False])
def test_what_changed_while_a_worker_ran_is_not_cached_whether_it_crashed_or_not(project: Project, dies: bool) -> None:
    (project.path / "data.txt").write_text("before")
    if not dies:
        (project.path / "die").unlink()
    project.write(test_a="def test_reads():\n    assert open('data.txt').read()\n" + stamping("x"))
    edit = "import subprocess\ndef test_b():\n    subprocess.run(['sh', '-c', 'echo after > data.txt'], check=True)\n"
    project.write(test_b=edit, test_c=DIES)
    project.run("-n1", "--perfcache-order=none")
    (project.path / "data.txt").write_text("before")
    second = project.run("-n1")

    assert second.tests["test_a.py::test_reads"][0] == "run"
    assert second.tests["test_a.py::test_x"][0] == "hit"


def test_an_interrupted_run_keeps_what_its_workers_did(project: Project) -> None:
    project.write(
        conftest="def pytest_runtest_logreport(report):\n"
        "    import os\n"
        "    if 'stop' in report.nodeid and 'PYTEST_XDIST_WORKER' not in os.environ:\n"
        "        raise KeyboardInterrupt\n"
    )
    project.write(test_a=stamping(*"xy"), test_b="def test_stop():\n    pass\n")
    first = project.run("-n1", "--perfcache-order=none")
    second = project.run("-n1")

    assert first.code == pytest.ExitCode.INTERRUPTED
    assert second.tests["test_a.py::test_x"][0] == "hit"
    assert second.tests["test_a.py::test_y"][0] == "hit"
