"""Hosts reached by ssh, with the whole plugin: other directories, other interpreters, one of them lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from tests.run.hosts import other_python, python_on_host, ssh_server
from tests.run.projects import Project, stamping
from tests.schedule.projects import most_at_once

PRICE = "import shop\ndef test_price():\n    assert shop.price()\n"
MEETING = """
import time
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    if hasattr(session.config, "workerinput"):
        above = session.config.rootpath.parent
        (above / f"up-{session.config.workerinput['workerid']}").touch()
        deadline = time.monotonic() + 60
        while len(list(above.glob("up-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
"""
"""No host begins before the other one can."""

DATA = "def test_data():\n    with open('data.txt') as file:\n        assert file.read()\n"


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[str]:
    directory = tmp_path / "ssh"
    directory.mkdir()
    with ssh_server(directory) as config:
        yield f"ssh=host//ssh_config={config}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.write(shop="def price():\n    return 1\n", test_a=PRICE + DATA, conftest=MEETING)
    (project.path / "data.txt").write_text("data")
    for name in "bcd":
        project.write(
            **{
                f"test_{name}": stamping(f"db{name}", seconds=0.1, mark='@pytest.mark.resource("db")')
                + stamping(*(f"{name}{number}" for number in range(5)), seconds=0.05)
            }
        )
    return project


def host(project: Project, ssh: str, name: str, python: str | None = None) -> str:
    """The `--tx` of a host that has a copy of the project, and the interpreter."""
    directory = project.path.parent / name
    if not directory.exists():
        copytree(project.path, directory, ignore=lambda *_: [".perfcache", "__pycache__"])
    stamps = str(project.path.with_suffix(".stamps"))
    options = {"STAMPS": stamps, "TMPDIR": str(project.path.parent)}
    script = python_on_host(directory, **({"python": python} if python else {}), **options)
    return f"--tx={ssh}//python={script}//chdir={directory}"


def test_two_hosts_share_tests_resources_and_the_cache(project: Project, ssh: str) -> None:
    hosts = ["--dist=load", host(project, ssh, "one"), host(project, ssh, "two")]
    first, second = project.run(*hosts), project.run(*hosts)

    assert first.code == 0, first.output
    assert len(first.spans) == 18
    assert len({span.pid for span in first.spans}) == 2
    assert most_at_once([span for span in first.spans if span.name.startswith("db")]) == 1
    assert second.ran == [], list(second.tests.values())[:2]
    for directory in (project.path, project.path.parent / "one", project.path.parent / "two"):
        shop = directory / "shop.py"
        shop.write_text(shop.read_text().replace("return 1", "return 2"))
    assert project.run(*hosts).ran == ["test_a.py::test_price"]
    assert project.run().ran == []


def test_what_another_interpreter_ran_counts_but_is_not_cached(project: Project, ssh: str) -> None:
    hosts = ["--dist=load", host(project, ssh, "one"), host(project, ssh, "two", other_python())]
    first, second = project.run(*hosts), project.run(*hosts)
    ran_there = {nodeid for nodeid, test in first.document["tests"].items() if test["worker"] == "gw1"}

    assert first.code == 0, first.output
    assert len(first.spans) == 18
    assert most_at_once([span for span in first.spans if span.name.startswith("db")]) == 1
    assert ran_there
    assert set(second.ran) == ran_there, list(second.tests.values())[:3]
    assert all(second.tests[nodeid][1].startswith("not cacheable: ran where ") for nodeid in ran_there)


def test_nothing_is_lost_with_a_host_that_is_lost_in_mid_run(project: Project, ssh: str) -> None:
    project.write(test_long=stamping(*(f"long{number}" for number in range(120)), seconds=0.1))
    hosts = ["--dist=load", host(project, ssh, "one"), host(project, ssh, "two")]
    running = project.start(*hosts)
    pids = project.path.parent / "two" / "pids"
    deadline = time.monotonic() + 60
    while not (pids.exists() and _has_run(running.stamps, pid := int(pids.read_text().split()[0]))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    run = running.wait()
    outcomes = [outcome for _, _, outcome in run.tests.values()]

    assert "replacing crashed worker" in run.output
    assert len(outcomes) == 140
    assert len([outcome for outcome in outcomes if outcome != "passed"]) <= 1
    done = [span.name for span in run.spans]
    assert len(done) == len(set(done))
    assert most_at_once([span for span in run.spans if span.name.startswith("db")]) == 1
    assert len(project.run().ran) <= 1


def _has_run(stamps: Path, pid: int) -> bool:
    return any(line.startswith("end") and line.endswith(f" {pid}") for line in stamps.read_text().splitlines())
