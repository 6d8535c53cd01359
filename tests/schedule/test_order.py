"""What runs first."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.schedule.jobs import SESSION, Job, Order, Setup
from pytest_perfcache.schedule.order import Rank, failure_probability, rank, serial_order


def keys(jobs: list[Job]) -> list[str]:
    return [job.key for job in jobs]


def in_module(key: str, seconds: float, module: str, setup: float, *, failed_last: bool = False) -> Job:
    return Job(
        key,
        seconds,
        file=module,
        scopes=(SESSION, module),
        setups=(Setup(module, setup),),
        failed_last=failed_last,
    )


jobs_strategy = st.lists(
    st.builds(
        Job,
        key=st.uuids().map(str),
        seconds=st.floats(0.0, 100.0),
        file=st.sampled_from("abc"),
        scopes=st.sampled_from([(SESSION,), (SESSION, "m1"), (SESSION, "m2")]),
        setups=st.sampled_from([(), (Setup("m1", 0.5),), (Setup("m2", 0.1),)]),
        failed_last=st.booleans(),
        is_new=st.booleans(),
        failure_rate=st.floats(0.0, 1.0),
    ),
    max_size=20,
    unique_by=lambda job: job.key,
)


@given(jobs=jobs_strategy, order=st.sampled_from(Order))
def test_every_order_is_a_permutation(jobs: list[Job], order: Order) -> None:
    assert sorted(keys(serial_order(jobs, order))) == sorted(keys(jobs))


@given(jobs=jobs_strategy)
def test_failed_tests_without_shared_set_up_come_before_all_others(jobs: list[Job]) -> None:
    free = [Job(job.key, job.seconds, failed_last=job.failed_last, is_new=job.is_new) for job in jobs]
    ranks = [rank(job) for job in serial_order(free)]
    assert ranks == sorted(ranks)


@given(jobs=jobs_strategy)
def test_probabilities_are_probabilities(jobs: list[Job]) -> None:
    assert all(0.0 < failure_probability(job) <= 1.0 for job in jobs)


@given(seconds=st.lists(st.floats(0.001, 10.0), min_size=1, max_size=6))
def test_smiths_rule_has_the_least_sum_of_ends(seconds: list[float]) -> None:
    jobs = [Job(f"t{index}", duration) for index, duration in enumerate(seconds)]

    def sum_of_ends(order: list[Job]) -> float:
        return sum(job.seconds * (len(order) - place) for place, job in enumerate(order))

    best = min(sum_of_ends(list(order)) for order in permutations(jobs))
    assert sum_of_ends(serial_order(jobs)) <= best + 1e-3


def test_failed_then_suspect_then_fastest() -> None:
    jobs = [
        Job("slow", 3.0),
        Job("new", 2.0, is_new=True),
        Job("fast", 0.1),
        Job("changed", 0.5, changed=True),
        Job("failed", 9.0, failed_last=True),
        Job("flaky", 0.2, failure_rate=0.5),
    ]
    assert keys(serial_order(jobs)) == ["failed", "flaky", "changed", "new", "fast", "slow"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.NONE, ["b1", "a1", "b2", "a2"]),
        (Order.FILE, ["b1", "b2", "a1", "a2"]),
        (Order.FASTEST, ["a2", "b2", "a1", "b1"]),
        (Order.LONGEST, ["b1", "a1", "b2", "a2"]),
        (Order.FAILED, ["a2", "b1", "a1", "b2"]),
    ],
)
def test_named_orders(order: Order, expected: list[str]) -> None:
    jobs = [
        Job("b1", 4.0, file="b"),
        Job("a1", 3.0, file="a"),
        Job("b2", 2.0, file="b"),
        Job("a2", 1.0, file="a", failed_last=True),
    ]
    assert keys(serial_order(jobs, order)) == expected


def test_tests_of_one_costly_fixture_stay_together() -> None:
    jobs = [in_module(f"m{i}", 0.1 * 10**i, "m", 0.5) for i in range(3)]
    between = [Job("between", 0.5)]
    ordered = keys(serial_order([jobs[0], *between, jobs[1], jobs[2]]))
    places = [ordered.index(job.key) for job in jobs]
    assert max(places) - min(places) == 2


def test_a_failed_test_leaves_its_block_when_its_set_up_is_cheaper_than_the_block() -> None:
    block = [in_module(f"m{i}", 5.0, "m", 0.1) for i in range(3)]
    failed = in_module("failed", 0.1, "m", 0.1, failed_last=True)
    other_failed = Job("other failed", 0.2, failed_last=True)
    ordered = keys(serial_order([*block, failed, other_failed]))
    assert ordered[:2] == ["failed", "other failed"] or ordered[:2] == ["other failed", "failed"]


def test_a_failed_test_brings_its_block_forward_when_the_set_up_is_dear() -> None:
    block = [in_module(f"m{i}", 0.01, "m", 5.0) for i in range(3)]
    failed = in_module("failed", 0.01, "m", 5.0, failed_last=True)
    ordered = keys(serial_order([Job("fast", 0.001), *block, failed]))
    assert ordered == ["failed", "m0", "m1", "m2", "fast"]


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (Job("a", 1.0), Rank.OTHER),
        (Job("a", 1.0, is_new=True), Rank.SUSPECT),
        (Job("a", 1.0, failure_rate=0.5), Rank.SUSPECT),
        (Job("a", 1.0, failure_rate=0.001), Rank.OTHER),
        (Job("a", 1.0, changed=True, failed_last=True), Rank.FAILED),
    ],
)
def test_ranks(job: Job, expected: Rank) -> None:
    assert rank(job) is expected
