"""Runs with real workers: what the simulator claims also holds over execnet."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.schedule.projects import Project, Span, most_at_once, outcomes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_test_runs_once_with_any_number_of_workers(project: Project, workers: int) -> None:
    project.write(
        "test_many.py",
        "@pytest.mark.parametrize('i', range(60))\ndef test_it(i):\n    with stamped(i, 0.001): pass\n",
    )
    run = project.run("-n", str(workers))
    assert outcomes(run) == {"passed": 60}, run.stdout + run.stderr
    assert run.returncode == 0
    assert Counter(project.started()) == Counter(str(i) for i in range(60))


def test_exclusive_resources_never_overlap_and_capacities_hold(project: Project) -> None:
    project.write(
        "test_marks.py",
        """
@pytest.mark.resource("db")
@pytest.mark.parametrize("i", range(8))
def test_db(i):
    with stamped("db", 0.02): pass

@pytest.mark.resource("gpu", amount=1)
@pytest.mark.parametrize("i", range(12))
def test_gpu(i):
    with stamped("gpu", 0.02): pass

@pytest.mark.resource("files", shared=True)
@pytest.mark.parametrize("i", range(6))
def test_reads(i):
    with stamped("reads", 0.02): pass

@pytest.mark.resource("files")
@pytest.mark.parametrize("i", range(3))
def test_writes(i):
    with stamped("writes", 0.02): pass

@pytest.mark.serial
@pytest.mark.parametrize("i", range(3))
def test_serial(i):
    with stamped("serial", 0.02): pass

@pytest.mark.parametrize("i", range(10))
def test_free(i):
    with stamped("free", 0.02): pass
""",
    )
    run = project.run("-n", "4", PERFCACHE_TEST_CAPACITIES="gpu=2")
    assert outcomes(run) == {"passed": 42}, run.stdout + run.stderr
    spans = project.spans()
    named: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        named[span.name].append(span)
    assert most_at_once(named["db"]) == 1
    assert most_at_once(named["gpu"]) <= 2
    assert most_at_once(named["writes"]) == 1
    for writer in named["writes"]:
        assert most_at_once([writer, *named["reads"]]) <= max(1, most_at_once(named["reads"]))
        assert not [read for read in named["reads"] if read.start < writer.end and writer.start < read.end]
    for serial in named["serial"]:
        assert not [s for s in spans if s is not serial and s.start < serial.end and serial.start < s.end]
    assert most_at_once(spans) > 1


def test_a_resource_of_a_module_fixture_is_held_until_the_fixture_is_torn_down(project: Project) -> None:
    body = """
from pytest_perfcache import claims

@pytest.fixture(scope="module")
@claims("server")
def server():
    with stamped("server", 0.02):
        yield

@pytest.mark.parametrize("i", range(5))
def test_with_server(server, i):
    time.sleep(0.005)

@pytest.mark.parametrize("i", range(5))
def test_without(i):
    time.sleep(0.005)
"""
    for name in "abc":
        project.write(f"test_{name}.py", body)
    run = project.run("-n", "4")
    assert outcomes(run) == {"passed": 30}, run.stdout + run.stderr
    assert most_at_once(project.spans()) == 1


def test_tests_of_one_group_run_in_one_process(project: Project) -> None:
    project.write(
        "test_group.py",
        """
@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("i", range(10))
def test_grouped(i):
    with stamped("grouped", 0.01): pass

@pytest.mark.parametrize("i", range(20))
def test_free(i):
    with stamped("free", 0.01): pass
""",
    )
    run = project.run("-n", "3")
    assert outcomes(run) == {"passed": 30}, run.stdout + run.stderr
    assert len({span.pid for span in project.spans() if span.name == "grouped"}) == 1
    assert len({span.pid for span in project.spans()}) > 1


@pytest.mark.parametrize(("limit", "failures"), [("-x", 1), ("--maxfail=2", 2)])
def test_once_the_last_failure_has_arrived_no_test_starts(project: Project, limit: str, failures: int) -> None:
    """The tests that run when it arrives wait for that, with short tests committed behind them."""
    (project.path / "conftest.py").write_text(
        f"""
import os, pathlib
seen = []
def pytest_runtest_logreport(report):
    if report.failed:
        seen.append(report)
    if len(seen) == {failures} and "PYTEST_XDIST_WORKER" not in os.environ:
        pathlib.Path("arrived").touch()
"""
    )
    project.write(
        "test_stop.py",
        f"""
import pathlib
from stamped import wait_for

def started():
    return pathlib.Path(os.environ["STAMPS"]).read_text().count("start slow")

@pytest.mark.parametrize("i", range({failures}))
def test_fails(i):
    wait_for(lambda: started() == 3)
    assert False

@pytest.mark.parametrize("i", range(400))
def test_slow(i):
    stamp("start", "slow")
    wait_for(pathlib.Path("arrived").exists)
    time.sleep(0.3)
""",
    )
    estimates = {f"test_stop.py::test_slow[{i}]": 0.001 for i in range(400)}
    estimates |= {f"test_stop.py::test_fails[{i}]": 0.001 for i in range(2)}
    (project.path / "estimates.json").write_text(json.dumps(estimates))
    run = project.run("-n", "4", limit, PERFCACHE_TEST_ORDER="file")
    assert outcomes(run)["failed"] == failures, run.stdout + run.stderr
    assert project.started() == ["slow"] * 3


@pytest.mark.parametrize("dist", ["load", "worksteal"])
def test_a_crash_is_blamed_on_the_test_that_ran_and_the_rest_still_runs(project: Project, dist: str) -> None:
    project.write(
        "test_crash.py",
        """
def test_dies():
    stamp("start", "dies")
    os._exit(3)

@pytest.mark.resource("db")
@pytest.mark.parametrize("i", range(20))
def test_lives(i):
    with stamped(f"lives{i}", 0.005): pass

@pytest.mark.parametrize("i", range(20))
def test_free(i):
    with stamped(f"free{i}", 0.005): pass
""",
    )
    run = project.run("-n", "2", "--dist", dist)
    assert outcomes(run) == {"failed": 1, "passed": 40}, run.stdout + run.stderr
    assert "crashed while running 'test_crash.py::test_dies'" in run.stdout
    assert set(Counter(project.started()).values()) == {1}


def test_a_crash_of_every_worker_is_survived(project: Project) -> None:
    project.write(
        "test_crashes.py",
        """
@pytest.mark.parametrize("i", range(12))
def test_it(i):
    if i % 4 == 0:
        os._exit(3)
    time.sleep(0.005)
""",
    )
    run = project.run("-n", "2")
    assert outcomes(run) == {"failed": 3, "passed": 9}, run.stdout + run.stderr


def test_workers_may_collect_in_different_orders(project: Project) -> None:
    (project.path / "conftest.py").write_text(
        "import os\n"
        "def pytest_collection_modifyitems(items):\n"
        "    if os.environ.get('PYTEST_XDIST_WORKER') == 'gw1':\n"
        "        items.reverse()\n"
    )
    project.write(
        "test_order.py",
        "@pytest.mark.parametrize('i', range(40))\ndef test_it(i):\n    with stamped(i, 0.005): pass\n",
    )
    run = project.run("-n", "2")
    assert outcomes(run) == {"passed": 40}, run.stdout + run.stderr
    assert Counter(project.started()) == Counter(str(i) for i in range(40))


def test_a_module_fixture_is_not_left_alive_over_a_pause(project: Project) -> None:
    project.write(
        "test_fixture.py",
        """
@pytest.fixture(scope="module")
def module():
    yield stamp("start", "module")
    stamp("end", "module")

@pytest.fixture(scope="session")
def session():
    yield stamp("start", "session")
    stamp("end", "session")

@pytest.mark.parametrize("i", range(6))
def test_it(module, session, i):
    time.sleep(0.03)
""",
    )
    run = project.run("-n", "1")
    assert outcomes(run) == {"passed": 6}, run.stdout + run.stderr
    names = [span.name for span in project.spans()]
    assert names.count("session") == 1
    assert names.count("module") == project.started().count("module")


def test_a_request_beyond_the_capacity_names_the_test(project: Project) -> None:
    project.write(
        "test_excess.py",
        "@pytest.mark.resource('gpu', amount=3)\ndef test_greedy():\n    pass\n",
    )
    run = project.run("-n", "2", PERFCACHE_TEST_CAPACITIES="gpu=2")
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: test_excess.py::test_greedy asks for 3 of 'gpu', there are 2" in run.stderr
