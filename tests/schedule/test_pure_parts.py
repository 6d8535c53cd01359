"""Estimates, bounds, worker counts, shards, the account and the locks."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.schedule.bounds import load_of
from pytest_perfcache.schedule.efficiency import TestSpan, Wait, WorkerSpan, account, critical_path
from pytest_perfcache.schedule.estimates import Estimates, Speed, learn, speed_of
from pytest_perfcache.schedule.jobs import SESSION, Claim, Job, Setup
from pytest_perfcache.schedule.locks import FileLocks, Held, LockError, default_directory, release, take_slots
from pytest_perfcache.schedule.machine import read_free_memory, read_machine, read_quota
from pytest_perfcache.schedule.resources import uses_of
from pytest_perfcache.schedule.shards import place_of_new, plan_shards
from pytest_perfcache.schedule.workers import Costs, Machine, plan_workers

if TYPE_CHECKING:
    from pathlib import Path


# Estimates.


@given(known=st.floats(0.001, 100.0), measured=st.floats(0.001, 100.0))
def test_an_expectation_moves_towards_the_measurement_and_not_beyond(known: float, measured: float) -> None:
    low, high = sorted((known, measured))
    assert low * (1 - 1e-9) <= learn(known, measured) <= high * (1 + 1e-9)


def test_one_outlier_moves_an_expectation_by_its_logarithm() -> None:
    assert learn(1.0, 100.0) == pytest.approx(100.0**0.3)
    assert learn(None, 2.0) == pytest.approx(2.0)


def test_unknown_tests_take_the_median_of_family_then_file_then_all() -> None:
    estimates = Estimates({"a.py::t[1]": 1.0, "a.py::t[2]": 3.0, "a.py::u": 10.0, "b.py::v": 100.0})
    assert estimates.seconds("a.py::t[1]") == 1.0
    assert estimates.seconds("a.py::t[3]") == 2.0
    assert estimates.seconds("a.py::new") == 3.0
    assert estimates.seconds("c.py::new") == 6.5
    assert "a.py::t[3]" not in estimates


def test_a_slow_host_is_seen_by_the_sum_of_seconds() -> None:
    assert Speed().factor == 1.0
    assert speed_of([(1.0, 2.0), (0.001, 0.1)]).factor == pytest.approx(2.098, abs=0.01)
    assert speed_of([(1.0, 1000.0)]).factor == 10.0


# Bounds and workers.


def test_the_load_knows_chains_groups_set_ups_and_what_runs_alone() -> None:
    jobs = [
        Job("a", 2.0, claims=(Claim("db"),)),
        Job("b", 3.0, claims=(Claim("db"),)),
        Job("c", 4.0, claims=(Claim("gpu", amount=1),)),
        Job("d", 1.0, alone=True),
        Job("e", 1.0, scopes=(SESSION, "m"), setups=(Setup("m", 0.5), Setup(SESSION, 0.25))),
        Job("f", 1.0, scopes=(SESSION, "m"), setups=(Setup("m", 0.5), Setup(SESSION, 0.25))),
    ]
    load = load_of(jobs, {"gpu": 2})
    assert (load.tests, load.setups, load.session_setups, load.alone) == (12.0, 0.5, 0.25, 1.0)
    assert (load.longest, load.chain) == (4.0, 5.0)
    assert load.makespan(1) == load.serial == 12.75
    assert load.makespan(100) == 5.25


def suite(*seconds: float) -> list[Job]:
    return [Job(f"t{index}", duration) for index, duration in enumerate(seconds)]


def workers_for(jobs: list[Job], machine: Machine, costs: Costs | None = None, most: int | None = None) -> int:
    return plan_workers(load_of(jobs), len(jobs), machine, costs, most=most).workers


def test_one_test_and_no_test_run_in_process() -> None:
    assert workers_for(suite(100.0), Machine(8)) == 0
    assert workers_for([], Machine(8)) == 0


def test_a_short_suite_runs_in_process_and_a_long_one_on_all_cores() -> None:
    assert workers_for(suite(*[0.01] * 50), Machine(8)) == 0
    assert workers_for(suite(*[1.0] * 500), Machine(8)) == 8


def test_limits_of_cores_load_memory_and_user() -> None:
    long = suite(*[1.0] * 500)
    assert workers_for(long, Machine(8, busy=5.0)) == 3
    assert workers_for(long, Machine(2.5)) == 3
    assert workers_for(long, Machine(8, free_memory=200_000_000)) == 2
    assert workers_for(long, Machine(8, free_memory=1)) == 0
    assert workers_for(long, Machine(8), most=3) == 3


def test_waiting_tests_pay_for_more_workers_than_cores() -> None:
    assert workers_for(suite(*[1.0] * 500), Machine(4), Costs(computing=0.1)) > 4


def test_no_worker_is_started_that_the_longest_test_makes_useless() -> None:
    assert workers_for(suite(100.0, *[1.0] * 100), Machine(16)) == 2


@given(
    seconds=st.lists(st.floats(0.0, 50.0), max_size=40),
    cores=st.floats(1.0, 64.0),
    start_up=st.floats(0.0, 5.0),
)
def test_a_run_is_never_planned_to_be_slower_than_in_process(
    seconds: list[float], cores: float, start_up: float
) -> None:
    jobs = suite(*seconds)
    plan = plan_workers(load_of(jobs), len(jobs), Machine(cores), Costs(start_up=start_up))
    assert plan.seconds <= plan.serial_seconds
    assert plan.workers <= len(jobs)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_the_control_group(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read_quota(tmp_path) == quota


def test_the_memory_of_the_control_group(tmp_path: Path) -> None:
    assert read_free_memory(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert read_free_memory(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert read_free_memory(tmp_path) is None


def test_this_machine_has_a_core_and_some_memory() -> None:
    machine = read_machine()
    assert 0 < machine.cores <= (os.cpu_count() or 1)
    assert machine.free_memory is not None
    assert machine.free_memory > 0


# Shards.

job_strategy = st.builds(
    Job,
    key=st.uuids().map(str),
    seconds=st.floats(0.0, 100.0),
    group=st.sampled_from(["", "", "g"]),
    scopes=st.sampled_from([(SESSION,), (SESSION, "m")]),
    setups=st.sampled_from([(), (Setup("m", 0.5),)]),
    is_new=st.booleans(),
)
suite_strategy = st.lists(job_strategy, max_size=30, unique_by=lambda job: job.key)


@given(jobs=suite_strategy, total=st.integers(1, 7), order=st.randoms())
def test_shards_are_disjoint_complete_and_do_not_depend_on_the_order(
    jobs: list[Job], total: int, order: object
) -> None:
    plan = plan_shards(jobs, total)
    assert set().union(*plan.parts) == {job.key for job in jobs}
    assert sum(map(len, plan.parts)) == len(jobs)
    shuffled = list(jobs)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_shards(shuffled, total) == plan


@given(jobs=suite_strategy, total=st.integers(1, 7))
def test_a_new_test_moves_no_other(jobs: list[Job], total: int) -> None:
    before = plan_shards(jobs, total)
    after = plan_shards([*jobs, Job("a new test", 5.0, is_new=True)], total)
    place = place_of_new("a new test", total)
    assert after.digest == before.digest
    for index in range(total):
        assert after.parts[index] - before.parts[index] == ({"a new test"} if index == place else set())


@given(seconds=st.lists(st.floats(0.01, 10.0), min_size=1, max_size=40), total=st.integers(1, 6))
def test_shards_differ_by_no_more_than_the_longest_test(seconds: list[float], total: int) -> None:
    plan = plan_shards(suite(*seconds), total)
    assert max(plan.seconds) - min(plan.seconds) <= max(seconds) + 1e-9


def test_other_durations_give_another_digest() -> None:
    assert plan_shards(suite(1.0, 2.0), 2).digest != plan_shards(suite(1.0, 2.5), 2).digest


# The account.


def test_the_account_of_two_workers() -> None:
    workers = [WorkerSpan("a", 0.0, 1.0, 2.0, 10.0), WorkerSpan("b", 0.0, 1.0, 3.0, 9.0)]
    tests = [
        TestSpan("x", "a", 2.0, 6.0, frozenset({"db"})),
        TestSpan("y", "a", 6.0, 10.0, frozenset({"db"})),
        TestSpan("z", "b", 3.0, 5.0),
        TestSpan("w", "b", 6.0, 8.0),
    ]
    report = account(workers, tests, [Wait("b", 5.0, 6.0, frozenset({"db"}))])
    assert report is not None
    assert (report.wall, report.busy, report.start_up, report.collection) == (10.0, 12.0, 2.0, 3.0)
    assert (report.tail, report.gaps, report.waiting) == (2.0, 0.0, {"db": 1.0})
    assert report.efficiency == pytest.approx(12 / 15)
    assert report.overall == pytest.approx(12 / 20)
    assert report.critical_path == ("x", "y")
    assert report.one_more == 0.0
    assert report.by_worker == {"a": 8.0, "b": 4.0}


def test_one_more_worker_would_help_where_no_chain_holds_the_end() -> None:
    workers = [WorkerSpan("a", 0.0, 0.0, 0.0, 6.0)]
    tests = [TestSpan(str(i), "a", float(i), i + 1.0) for i in range(6)]
    report = account(workers, tests)
    assert report is not None
    assert report.one_more == 3.0
    assert report.efficiency == 1.0


def test_nothing_that_ran_has_no_account() -> None:
    assert account([], []) is None


def test_without_resources_the_critical_path_is_the_longest_test() -> None:
    tests = [TestSpan("a", "w", 0.0, 1.0), TestSpan("b", "w", 1.0, 4.0)]
    assert [test.key for test in critical_path(tests)] == ["b"]


# Locks between runs.

WHOLE, READ, ONE, TWO = Claim("r"), Claim("r", shared=True), Claim("r", amount=1), Claim("r", amount=2)


def freed(held: Held | None) -> bool:
    """Whether something was held, which is let go here."""
    release(file for files in (held or {}).values() for file in files)
    return held is not None


@pytest.mark.parametrize("pair", [*combinations([WHOLE, READ, ONE, TWO], 2), (READ, READ), (ONE, ONE)])
def test_locks_agree_as_claims_do(tmp_path: Path, pair: tuple[Claim, Claim]) -> None:
    locks = FileLocks(tmp_path, {"r": 2})
    first = locks.try_take(uses_of(pair[:1]))
    second = locks.try_take(uses_of(pair[1:]))
    assert (second is not None) is (pair in [(READ, READ), (ONE, ONE)])
    assert freed(first)
    freed(second)
    assert freed(locks.try_take(uses_of(pair)))


@pytest.mark.parametrize("smaller", [READ, ONE])
def test_a_lock_shrinks_to_a_smaller_use_without_being_let_go(tmp_path: Path, smaller: Claim) -> None:
    locks = FileLocks(tmp_path, {"r": 2})
    held = locks.try_take(uses_of([WHOLE]))
    assert held is not None
    held["r"] = locks.shrink(held["r"], uses_of([smaller])["r"])
    assert locks.try_take(uses_of([WHOLE])) is None
    assert freed(locks.try_take(uses_of([smaller])))
    assert freed(held)


def test_a_refused_lock_leaves_nothing_locked(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path)
    held = locks.try_take(uses_of([Claim("b")]))
    assert locks.try_take(uses_of([Claim("a"), Claim("b")])) is None
    assert freed(locks.try_take(uses_of([Claim("a")])))
    assert freed(held)


def test_who_waits_gives_up_when_told_to(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path)
    pauses: list[float] = []
    held = locks.try_take(uses_of([Claim("db")]))
    assert locks.take(uses_of([Claim("db")]), give_up=lambda: len(pauses) == 9, sleep=pauses.append) is None
    assert pauses == sorted(pauses)
    assert freed(held)
    assert freed(locks.try_take(uses_of([Claim("db")])))


def test_readers_that_come_later_do_not_pass_a_writer_that_waits(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path)
    reading = [locks.try_take(uses_of([READ]))]

    def meanwhile(_: float) -> None:
        reading.append(locks.try_take(uses_of([READ])))
        freed(reading[0])

    written = locks.take(uses_of([WHOLE]), give_up=lambda: len(reading) > 5, sleep=meanwhile)
    assert freed(written)
    assert reading[1:] == [None]


def test_a_lock_is_free_again_though_a_forked_child_lives_on(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path)
    held = locks.try_take(uses_of([WHOLE]))
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    freed(held)
    again = locks.try_take(uses_of([WHOLE]))
    os.close(theirs)
    os.waitpid(child, 0)
    os.close(ours)
    assert freed(again)


def test_the_kernel_releases_the_locks_of_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from pytest_perfcache.schedule.locks import FileLocks\n"
        "from pytest_perfcache.schedule.resources import Use\n"
        "assert FileLocks(pathlib.Path(sys.argv[1])).try_take({'db': Use(whole=True)})\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    locks = FileLocks(tmp_path)
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert locks.try_take(uses_of([Claim("db")])) is None
        other.kill()
        other.wait()
    assert freed(locks.try_take(uses_of([Claim("db")])))


def test_a_directory_of_somebody_else_is_no_place_for_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert default_directory() == default_directory()
    default_directory().rename(tmp_path / "other")
    (tmp_path / f"pytest-perfcache-{os.getuid()}").symlink_to(tmp_path / "other")
    with pytest.raises(LockError):
        default_directory()


def test_two_runs_share_the_slots_of_a_host(tmp_path: Path) -> None:
    first = take_slots(tmp_path, 4, 3)
    second = take_slots(tmp_path, 4, 3)
    assert (len(first), len(second)) == (3, 1)
    release(first)
    third = take_slots(tmp_path, 4, 9)
    assert len(third) == 3
    release([*second, *third])
