"""The plugin's scheduling as users meet it: real runs of small projects, here and with two workers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.run.projects import Project, numbered, stamping
from tests.schedule.projects import most_at_once

USAGE_ERROR = 4


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


# The same results, wherever the tests run.


def test_verdicts_and_results_are_those_of_a_run_in_one_process(tmp_path: Path) -> None:
    found = []
    for name, args in (("here", ()), ("workers", ("-n2",))):
        project = Project(tmp_path / name)
        project.write(shop="def price():\n    return 1\n", test_a=stamping("x", "y"))
        project.write(test_b="import shop\ndef test_price():\n    assert shop.price() == 1\ndef test_z():\n    pass\n")
        first = project.run(*args)
        project.write(shop="def price():\n    return 2\n", test_a=stamping("x", "y", "new"))
        found.append([first.tests, project.run(*args).tests])

    assert found[0] == found[1]
    assert {verdict for verdict, _, _ in found[0][1].values()} == {"hit", "run"}


# How many workers.


def test_one_test_with_n_auto_runs_in_this_process_and_is_recorded(project: Project) -> None:
    project.write(test_a=stamping("x"))

    first, second = project.run("-nauto"), project.run("-nauto")

    assert (first.workers, second.workers) == (0, 0)
    assert first.ran == ["test_a.py::test_x"]
    assert second.ran == []


def test_the_number_that_the_environment_gives_for_auto_is_kept(project: Project) -> None:
    project.write(test_a=stamping("x", "y"))

    assert project.run("-nauto", PYTEST_XDIST_AUTO_NUM_WORKERS="2").workers == 2


def test_no_worker_starts_where_everything_is_cached_nor_more_than_there_are_tests(project: Project) -> None:
    project.write(shop="def price():\n    return 1\n", test_a=stamping("x", "y"))
    project.write(test_b="import shop\ndef test_price():\n    assert shop.price()\n")
    first = project.run("-n2")
    second = project.run("-n2")
    project.write(shop="def price():\n    return 2\n")
    third = project.run("-n2")

    assert (first.workers, second.workers, third.workers) == (2, 0, 1)
    assert (second.code, second.ran) == (0, [])
    assert third.ran == ["test_b.py::test_price"]


def test_a_test_that_appears_runs_though_everything_known_is_cached(project: Project) -> None:
    project.write(test_a=stamping("x"))
    project.run("-n2")
    project.write(test_new=stamping("y"))

    assert project.run("-n2").ran == ["test_new.py::test_y"]


def test_with_eight_asked_for_no_worker_starts_where_everything_is_cached(project: Project) -> None:
    project.write(test_a=numbered(6), test_b=stamping("x", "y"))
    first, second = project.run(), project.run("-n8")

    assert (len(first.ran), second.workers, second.ran, second.order) == (8, 0, [], [])
    assert second.code == 0


# The order.


def test_what_failed_comes_first_then_the_quick_tests_of_a_serial_run(project: Project) -> None:
    project.write(test_a=stamping("slow", seconds=0.2), test_b=stamping("quick"))
    project.write(test_c="def test_c():\n    with stamped('failing', 0.1):\n        assert 0\n")

    assert project.run(TZ="A").order == ["slow", "quick", "failing"]
    assert project.run(TZ="B").order == ["failing", "quick", "slow"]
    assert project.run("--perfcache-order=longest", TZ="C").order == ["slow", "failing", "quick"]
    assert project.run("--perfcache-order=none", TZ="D").order == ["slow", "quick", "failing"]


def test_a_module_that_shares_a_fixture_stays_whole_and_a_wider_parameter_leaves_all_in_place(project: Project) -> None:
    shared = '@pytest.fixture(scope="module", autouse=True)\ndef shared():\n    pass\n'
    project.write(
        test_a=shared + stamping("slow", seconds=0.2) + stamping("quick"), test_b=stamping("middle", seconds=0.05)
    )
    project.run(TZ="A")

    assert project.run(TZ="B").order == ["middle", "slow", "quick"]

    project.write(test_c=shared.replace("scope", "params=[1], scope") + stamping("last"))
    project.run(TZ="C")
    assert project.run(TZ="D").order == ["slow", "quick", "middle", "last"]


@pytest.mark.parametrize(("set_up", "seconds", "processes"), [(0.6, 0.1, 1), (0.0, 0.4, 2)])
def test_a_module_is_split_between_workers_only_where_its_set_up_is_known_to_be_cheap(
    project: Project, set_up: float, seconds: float, processes: int
) -> None:
    shared = f'@pytest.fixture(scope="module", autouse=True)\ndef shared():\n    import time; time.sleep({set_up})\n'
    project.write(test_a=shared + stamping(*"abcd", seconds=seconds))
    project.run(TZ="A")

    assert len({span.pid for span in project.run("-n2", TZ="B").spans}) == processes


# The end of a run.


def test_with_x_few_tests_start_after_the_failure_and_none_of_them_is_recorded_unrun(project: Project) -> None:
    project.write(test_a="def test_bad():\n    assert 0\n", test_b=numbered(60, 0.05))
    stopped = project.run("-n2", "-x")
    second = project.run("-n2")

    assert stopped.code != 0
    assert len(stopped.spans) < 20
    assert len(second.ran) >= 61 - len(stopped.spans)


ARRIVED = """
import os, pathlib
def pytest_runtest_logreport(report):
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        pathlib.Path("arrived").touch()
"""

FAILING_BESIDE_THREE = """
import os, pathlib, time
from stamped import stamp, wait_for

def test_fails():
    wait_for(lambda: pathlib.Path(os.environ["STAMPS"]).read_text().count("start slow") == 3)
    assert False

@pytest.mark.parametrize("i", range(100))
def test_slow(i):
    stamp("start", "slow")
    wait_for(pathlib.Path("arrived").exists)
    time.sleep(0.3)
"""


@pytest.mark.parametrize("durations_are_known", [False, True])
def test_with_x_and_four_workers_no_test_starts_once_the_failure_has_arrived(
    project: Project, durations_are_known: bool
) -> None:
    """The three tests that run when it arrives wait for that; then their workers are free, and take no other."""
    project.write(test_a=FAILING_BESIDE_THREE)
    if durations_are_known:
        slow = '@pytest.mark.parametrize("i", range(100))\ndef test_slow(i):\n    time.sleep(0.1)\n'
        project.write(test_a=f"import time\ndef test_fails():\n    pass\n{slow}")
        project.run("-n4")
        project.write(test_a=FAILING_BESIDE_THREE)
    project.write(conftest=ARRIVED)
    run = project.run("-n4", "-x", "--perfcache-order=file")

    assert run.code != 0
    assert run.order == ["slow"] * 3, run.output


# Resources.


def test_resources_never_overlap_and_capacities_are_never_exceeded(project: Project) -> None:
    project.ini("perfcache_resources = gpu=2, db=1")
    project.write(
        test_a=stamping(*(f"db{n}" for n in range(4)), seconds=0.05, mark='@pytest.mark.resource("db")'),
        test_b=stamping(*(f"gpu{n}" for n in range(6)), seconds=0.2, mark='@pytest.mark.resource("gpu", amount=1)'),
        test_c=stamping("alone", seconds=0.05, mark="@pytest.mark.serial"),
    )
    spans = project.run("-n2").spans

    assert most_at_once([span for span in spans if span.name.startswith("db")]) == 1
    assert most_at_once([span for span in spans if span.name.startswith("gpu")]) == 2
    alone = next(span for span in spans if span.name == "alone")
    assert all(span.end <= alone.start or alone.end <= span.start for span in spans if span is not alone)


def test_where_only_marked_tests_run_side_by_side_the_others_run_one_at_a_time(project: Project) -> None:
    project.ini("perfcache_parallel = marked")
    project.write(
        test_a=stamping(*(f"other{n}" for n in range(4)), seconds=0.1),
        test_b=stamping(*(f"safe{n}" for n in range(2)), seconds=0.3, mark="@pytest.mark.parallel_safe"),
    )
    spans = project.run("-n2").spans

    assert most_at_once([span for span in spans if span.name.startswith("other")]) == 1
    assert most_at_once(spans) == 2


DISTRIBUTIONS = [(), ("-n2",), *(("-n2", f"--dist={dist}") for dist in ("loadfile", "loadscope", "loadgroup", "each"))]


@pytest.mark.parametrize("workers", DISTRIBUTIONS)
@pytest.mark.parametrize("mark", ['"gpu", amount=3', '"gpu", much=1'])
def test_a_wrong_claim_is_a_usage_error_that_names_the_test(
    project: Project, mark: str, workers: tuple[str, ...]
) -> None:
    project.ini("perfcache_resources = gpu=2")
    project.write(test_a=stamping("x", mark=f"@pytest.mark.resource({mark})") + stamping("y"))
    run = project.run(*workers)

    assert run.code == USAGE_ERROR
    assert "test_a.py::test_x" in run.output
    assert run.order == []


@pytest.mark.parametrize("dist", ["loadfile", "loadscope", "loadgroup"])
def test_xdists_own_schedulers_keep_claims_and_their_groups(project: Project, dist: str) -> None:
    claiming = '@pytest.mark.resource("db")'
    for name in "abcd":
        grouped = '@pytest.mark.xdist_group("one")\n'
        project.write(**{f"test_{name}": stamping(f"{name}1", seconds=0.1, mark=claiming) + grouped + stamping(name)})
    first = project.run("-n2", f"--dist={dist}")
    db = [span for span in first.spans if span.name.endswith("1")]

    assert (first.code, len(first.spans)) == (0, 8), first.output
    assert most_at_once(db) == 1
    assert len({span.pid for span in first.spans}) == 2
    if dist == "loadgroup":
        assert len({span.pid for span in first.spans if not span.name.endswith("1")}) == 1
    assert project.run("-n2", f"--dist={dist}").ran == []


# Shards.


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_shards_are_disjoint_and_together_complete_when_tests_appear(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.write(test_a=numbered(8), test_b=stamping("x", "y"))
    for count in (10, 11):
        parts = [set(project.run(*workers, f"--perfcache-shard={index}/2").tests) for index in (1, 2)]
        assert len(parts[0] | parts[1]) == len(parts[0]) + len(parts[1]) == count
        project.write(test_c=stamping("z"))


def test_shards_say_what_they_were_split_by(project: Project) -> None:
    project.write(test_a=stamping("x", "y", "z"))
    lines = [
        next(line for line in project.run(f"--perfcache-shard={index}/2").output.splitlines() if "of split" in line)
        for index in (1, 2)
    ]

    assert lines[0].split(":")[0].split()[-1] == lines[1].split(":")[0].split()[-1]


# Replay.


def test_a_replay_repeats_the_order_of_one_worker_here(project: Project) -> None:
    project.write(test_a=numbered(6, 0.05), test_b=stamping("x", "y", seconds=0.1))
    parallel = project.run("-n2")
    for worker in ("gw0", "gw1"):
        nodeids = [nodeid for nodeid, test in parallel.document["tests"].items() if test["worker"] == worker]
        replayed = project.run("-n2", f"--perfcache-replay={worker}")
        pids = {span.name: span.pid for span in parallel.spans}
        pid = pids[replayed.order[0]]

        assert replayed.workers == 0
        assert replayed.ran == sorted(nodeids)
        assert replayed.order == [name for name in parallel.order if pids[name] == pid]


def test_a_replay_of_a_worker_that_never_was_is_a_usage_error(project: Project) -> None:
    project.write(test_a=stamping("x"))
    run = project.run("--perfcache-replay=gw7")

    assert run.code == USAGE_ERROR
    assert "gw7" in run.output


# What is told.


def test_the_account_of_the_workers_time_is_told(project: Project) -> None:
    project.write(test_a=stamping("x", "y", seconds=0.2))
    run = project.run("-n2", "--perfcache-stats")
    here = project.run(TZ="A")

    account = run.document["parallel"]
    assert here.document["parallel"] is None
    assert account["critical_seconds"] >= 0.2
    assert sum(account["by_worker"].values()) >= 0.4
    assert account["start_up"] > 0
    for words in ("busy once they had collected", "start-up", "critical path", "one more worker"):
        assert words in run.output


@pytest.mark.parametrize(
    "argument",
    [
        "--perfcache-order=random",
        "--perfcache-shard=3/2",
        "--perfcache-resources=gpu",
        "--perfcache-parallel=some",
    ],
)
def test_a_value_that_can_not_be_used_is_a_usage_error(project: Project, argument: str) -> None:
    project.write(test_a=stamping("x"))
    run = project.run("-n2", argument)

    assert run.code == USAGE_ERROR
    assert argument.partition("=")[0] in run.output


# Starting workers.

WORKERS = """
import os
def test_count():
    assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "6"
"""


def test_a_worker_that_would_come_too_late_is_not_started(project: Project) -> None:
    project.write(test_a='@pytest.mark.parametrize("i", range(40))\ndef test_short(i):\n    pass\n', test_b=WORKERS)
    project.run()
    again = project.run("-n6", "--perfcache-verify=100%")
    assert re.search(r"on [12] workers?$", again.output, re.MULTILINE), again.output
    assert "41 passed" in again.output


def test_all_workers_that_were_asked_for_start_where_there_is_work_for_them(project: Project) -> None:
    slow = 'import time\n@pytest.mark.parametrize("i", range(60))\ndef test_slow(i):\n    time.sleep(0.25)\n'
    project.write(test_a=slow, test_b=WORKERS)
    run = project.run("-n6")
    assert "on 6 workers" in run.output, run.output
    assert "61 passed" in run.output
