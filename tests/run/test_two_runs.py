"""Two runs of pytest at the same time on one host: two real processes, and what they keep from each other."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.run.projects import Project, Running, stamping
from tests.schedule.projects import most_at_once

PATIENCE = 60

MEETING = f"""
import os, pathlib, time

def meet(name):
    \"\"\"Say that one is here, and wait until both runs have said so.\"\"\"
    here = pathlib.Path(os.environ["TMPDIR"])
    (here / f"{{name}}-{{os.environ['RUN']}}").touch()
    deadline = time.monotonic() + {PATIENCE}
    while len(list(here.glob(f"{{name}}-*"))) < 2:
        assert time.monotonic() < deadline, f"alone at {{name}}"
        time.sleep(0.005)
"""


@pytest.fixture
def projects(tmp_path: Path) -> tuple[Project, Project]:
    one, two = Project(tmp_path / "one"), Project(tmp_path / "two")
    for project in (one, two):
        project.write(meeting=MEETING)
    return one, two


def start_both(projects: tuple[Project, Project], *args: str) -> tuple[Running, Running]:
    one, two = projects
    return one.start(*args, RUN="one"), two.start(*args, RUN="two")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


MEETS_FIRST = "from meeting import meet\ndef test_meet():\n    meet('start')\n"


@pytest.mark.parametrize("workers", [(), ("-n2",), ("-n2", "--dist=loadfile")])
def test_a_resource_that_a_test_claims_is_used_by_one_run_at_a_time(
    projects: tuple[Project, Project], workers: tuple[str, ...]
) -> None:
    names = [f"db{number}" for number in range(4)]
    for project in projects:
        project.write(test_a=MEETS_FIRST)
        project.write(test_b=stamping(*names, seconds=0.1, mark='@pytest.mark.resource("db")'))
        project.write(test_c=stamping("other", seconds=0.1, mark='@pytest.mark.resource("db")'))
    runs = [running.wait() for running in start_both(projects, "--perfcache-order=none", *workers)]

    assert [run.code for run in runs] == [0, 0], runs[0].output + runs[1].output
    assert [len(run.spans) for run in runs] == [5, 5]
    assert most_at_once([*runs[0].spans, *runs[1].spans]) == 1
    assert any("for other runs on this host that held db" in run.output for run in runs)


def test_a_capacity_is_shared_by_two_runs_and_so_is_what_is_only_read(projects: tuple[Project, Project]) -> None:
    names = [f"gpu{number}" for number in range(6)]
    for project in projects:
        project.ini("perfcache_resources = gpu=3")
        project.write(test_a=MEETS_FIRST.replace("def", '@pytest.mark.resource("db", shared=True)\ndef'))
        project.write(test_b=stamping(*names, seconds=0.1, mark='@pytest.mark.resource("gpu", amount=1)'))
    runs = [running.wait() for running in start_both(projects, "-n2")]

    assert [run.code for run in runs] == [0, 0], runs[0].output + runs[1].output
    assert [len(run.spans) for run in runs] == [6, 6]
    assert most_at_once([*runs[0].spans, *runs[1].spans]) <= 3


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_what_a_killed_run_held_is_free_for_the_other(
    projects: tuple[Project, Project], workers: tuple[str, ...]
) -> None:
    one, two = projects
    one.write(test_a=stamping("held", seconds=3600, mark='@pytest.mark.resource("db")'))
    two.write(test_a=stamping("beside"), test_b=stamping("after", mark='@pytest.mark.resource("db")'))
    holder = one.start(*workers)
    wait_until(lambda: "start held" in holder.stamps.read_text())
    waiting = two.start("--perfcache-order=none", *workers)
    wait_until(lambda: "end beside" in waiting.stamps.read_text())
    time.sleep(0.3)  # for a run that does not wait to show it
    assert "after" not in waiting.stamps.read_text()
    holder.kill()
    killed = time.monotonic()
    run = waiting.wait()
    holder.wait()

    assert run.code == 0, run.output
    after = next(span for span in run.spans if span.name == "after")
    assert after.start >= killed


def test_two_runs_that_each_want_what_a_living_fixture_of_the_other_holds_both_end(
    projects: tuple[Project, Project],
) -> None:
    for project, own, other in zip(projects, ("x", "y"), ("y", "x"), strict=True):
        project.write(
            test_a=f"""
from meeting import meet
from pytest_perfcache import claims

@pytest.fixture(scope="module")
@claims("{own}")
def fixture():
    with stamped("{own}"):
        yield

def test_alone(fixture):
    meet("alone")

@pytest.mark.resource("{other}")
def test_both(fixture):
    with stamped("both"):
        pass
"""
        )
    runs = [running.wait() for running in start_both(projects, "--perfcache-order=none")]
    spans = [span for run in runs for span in run.spans]

    assert [run.code for run in runs] == [0, 0], runs[0].output + runs[1].output
    assert len([span for span in spans if span.name == "both"]) == 2
    for name in ("x", "y"):
        assert most_at_once([span for span in spans if span.name == name]) == 1
    assert most_at_once([span for span in spans if span.name == "both"]) == 1


def test_locks_are_no_input_of_the_tests_that_hold_them(projects: tuple[Project, Project]) -> None:
    project = projects[0]
    project.write(test_a=stamping("x", "y", mark='@pytest.mark.resource("db")'))

    assert len(project.run().ran) == 2
    assert project.run().ran == []


def test_where_no_lock_is_to_be_had_the_tests_run_with_one_warning(projects: tuple[Project, Project]) -> None:
    project = projects[0]
    project.write(test_a=stamping("x", "y", mark='@pytest.mark.resource("db")'))
    run = project.run("--perfcache-locks=/dev/null/locks")

    assert run.code == 0
    assert len(run.spans) == 2
    assert run.output.count("does not keep other runs on this host from what tests claim") == 1


def test_runs_with_other_temporary_directories_meet_where_they_are_told_to(
    projects: tuple[Project, Project], tmp_path: Path
) -> None:
    one, two = projects
    for project in projects:
        project.write(test_a=stamping("x", seconds=0.3, mark='@pytest.mark.resource("db")'))
        (project.path / "tmp").mkdir()
        project.ini(f"perfcache_locks = {tmp_path / 'locks'}")
    runs = [project.start(TMPDIR=str(project.path / "tmp")) for project in (one, two)]
    spans = [span for running in runs for span in running.wait().spans]

    assert len(spans) == 2
    assert most_at_once(spans) == 1
    assert re.fullmatch(r"(\w+\.(turn|0) ?)+", " ".join(sorted(os.listdir(tmp_path / "locks"))))


FOUR_CORES = """
import pytest_perfcache.run.worker_count as counting
from pytest_perfcache.schedule.workers import Costs, Machine

counting.read_machine = lambda: Machine(cores=4.0)
counting.read_costs = lambda store: Costs(start_up=0.01, collect=0.01, serial_collect=0.01, computing=1.0)
"""
"""Tests do not depend on what this host has, nor on what else it does."""


@pytest.mark.parametrize(("first", "left"), [("-nauto", 0), ("-n2", 2)])
def test_a_run_that_chooses_its_workers_leaves_the_cores_alone_that_another_run_has_taken(
    projects: tuple[Project, Project], first: str, left: int
) -> None:
    for project in projects:
        waits = 'import os, pathlib\ndef wait():\n    while not (pathlib.Path(os.environ["TMPDIR"]) / "go").exists():\n'
        project.write(four_cores=FOUR_CORES, waiting=waits + "        import time; time.sleep(0.01)\n")
        project.write(test_a=stamping(*"abcdefgh", seconds=0.1))
    for running in [project.start(TZ="A") for project in projects]:
        running.wait()
    projects[0].write(conftest="from waiting import wait\ndef pytest_sessionfinish():\n    wait()\n")
    chooser = "-pfour_cores"
    holder = projects[0].start(first, chooser, TZ="B")
    wait_until(lambda: "start" in holder.stamps.read_text())
    beside = projects[1].run("-nauto", chooser, TZ="B")
    (projects[0].path.parent / "go").touch()
    held = holder.wait()
    alone = projects[1].run("-nauto", chooser, TZ="C")

    assert (held.code, beside.code, alone.code) == (0, 0, 0), held.output + beside.output
    assert held.workers == (4 if first == "-nauto" else int(first[2:]))
    assert (beside.workers, alone.workers) == (left, 4)
