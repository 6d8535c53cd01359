"""The policy's promises, in simulated time: near the bound, quick results first, invariants under faults."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from statistics import mean

import pytest

from benchmarks.scheduling.faults import random_run
from benchmarks.scheduling.simulator import (
    Faults,
    InvariantError,
    Outcome,
    Simulation,
    Suite,
    check_resources,
)
from benchmarks.scheduling.suites import SHAPES, make
from pytest_perfcache.schedule.jobs import SESSION, Claim, Job, Order
from pytest_perfcache.schedule.resources import Ledger


def simulate(shape: str, workers: int, seed: int, *, can_pause: bool = True) -> tuple[Outcome, float]:
    suite = make(shape, workers, seed)
    outcome = Simulation(suite, workers, can_pause=can_pause, check=False).run()
    return outcome, outcome.makespan / suite.lower_bound(workers)


def plain(*seconds: float) -> Suite:
    jobs = tuple(Job(f"t{index}", duration) for index, duration in enumerate(seconds))
    return Suite(jobs, {job.key: job.seconds for job in jobs})


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize(("can_pause", "worst"), [(True, 1.15), (False, 1.25)])
def test_the_makespan_stays_near_the_lower_bound(shape: str, can_pause: bool, worst: float) -> None:
    ratios = [simulate(shape, workers, seed, can_pause=can_pause)[1] for workers in (2, 4, 8) for seed in range(3)]
    assert mean(ratios) <= 1.06
    assert max(ratios) <= worst


def test_half_of_a_log_normal_suite_is_done_early() -> None:
    outcomes = [simulate("log-normal", workers, seed)[0] for workers in (2, 4, 8) for seed in range(4)]
    assert mean(outcome.half / outcome.makespan for outcome in outcomes) <= 0.15


@pytest.mark.parametrize("block", range(10))
def test_invariants_hold_under_random_faults(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        random_run(seed)


def test_the_oracle_notices_a_ledger_that_grants_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "can_acquire", lambda *_: True)
    with pytest.raises(InvariantError):
        deque(map(random_run, range(40)), maxlen=0)


def test_the_oracle_notices_a_reader_beside_a_writer() -> None:
    jobs = (Job("w", 1.0, claims=(Claim("r"),)), Job("r", 1.0, claims=(Claim("r", shared=True),)))
    simulation = Simulation(Suite(jobs, {"w": 1.0, "r": 1.0}), 2)
    assert simulation.run().makespan >= 2.0
    check_resources([], {})


def test_a_long_test_is_not_left_for_the_end() -> None:
    suite = plain(*[0.1] * 60, 4.0)
    assert Simulation(suite, 2).run().makespan <= 1.05 * suite.lower_bound(2)


def test_a_wrong_estimate_delays_no_committed_long_test() -> None:
    jobs = (Job("underestimated", 0.2), *(Job(f"t{index}", 0.2) for index in range(11)))
    truth = {job.key: 0.2 for job in jobs} | {"underestimated": 2.0}
    outcome = Simulation(Suite(jobs, truth), 2, order=Order.NONE).run()
    assert outcome.makespan == pytest.approx(2.2, abs=0.05)


def test_where_everything_failed_last_time_the_makespan_still_counts() -> None:
    suite = make("log-normal", 4, 1)
    failed = tuple(job._replace(failed_last=True) for job in suite.jobs)
    outcome = Simulation(replace(suite, jobs=failed), 4, check=False).run()
    assert outcome.makespan <= 1.05 * suite.lower_bound(4)


def test_what_failed_last_time_comes_first() -> None:
    suite = plain(*[0.01] * 100, 2.0)
    jobs = (*suite.jobs[:-1], suite.jobs[-1]._replace(failed_last=True), Job("long", 4.0))
    outcome = Simulation(Suite(jobs, {job.key: job.seconds for job in jobs}), 2).run()
    assert outcome.ends[outcome.completed.index("t100")] <= 2.1


def test_late_workers_take_part() -> None:
    suite = plain(*[0.5] * 20)
    outcome = Simulation(suite, 2, faults=Faults(late=[0.0, 2.0])).run()
    assert outcome.makespan == pytest.approx(6.0, abs=0.3)


def test_a_lost_worker_that_is_not_replaced_leaves_its_tests_to_the_others() -> None:
    suite = plain(*[0.5] * 12)
    outcome = Simulation(suite, 3, faults=Faults(crashes=[1.2], replaced=False)).run()
    assert len(outcome.blamed) == 1
    assert len(outcome.completed) == 11


def test_after_the_stop_nothing_starts() -> None:
    suite = plain(*[0.01] * 500)
    outcome = Simulation(suite, 4, order=Order.FILE, faults=Faults(failing=frozenset({"t0"}))).run()
    assert outcome.stopped
    assert len(outcome.completed) <= 8


def test_session_fixtures_that_block_each_other_do_not_stop_the_run() -> None:
    def holding(name: str) -> Claim:
        return Claim(name, holder=name, scope=SESSION)

    jobs = (
        Job("a", 1.0, claims=(holding("a"),)),
        Job("b", 1.0, claims=(holding("b"),)),
        Job("both", 0.5, claims=(holding("a"), holding("b"))),
    )
    outcome = Simulation(Suite(jobs, {job.key: job.seconds for job in jobs}), 2).run()
    assert len(outcome.completed) == 3


def test_tests_of_a_costly_module_share_one_set_up() -> None:
    outcome, ratio = simulate("modules", 4, 1)
    assert ratio <= 1.1
    assert outcome.completed
