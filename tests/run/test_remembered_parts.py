"""What scheduling keeps in the store: costs, splits and the orders of workers, and what of it can not be read."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.model import History, Outcome, Reason, Verdict
from pytest_perfcache.run.costs import learn_costs, read_costs
from pytest_perfcache.run.describing import Knowledge
from pytest_perfcache.run.replaying import order_of, save_orders
from pytest_perfcache.run.sharding import Split
from pytest_perfcache.schedule.meta import plain_meta
from pytest_perfcache.schedule.workers import Costs
from pytest_perfcache.settings import Shard
from pytest_perfcache.store.memory import MemoryStore

GARBAGE = [b"", b"{", b"[]", b"7", b"null", b'{"start_up": "x"}', b'{"seconds": 1, "ran": 2}', b"\xff"]
seconds = st.floats(0.001, 1000)


def store() -> MemoryStore:
    return MemoryStore(1_000_000)


# Costs.


def test_costs_that_were_never_measured_are_the_defaults() -> None:
    assert read_costs(store()) == Costs()


@given(st.lists(seconds, min_size=1, max_size=20))
def test_a_learnt_cost_lies_among_its_measurements_and_the_others_stay(measured: list[float]) -> None:
    memory = store()
    learn_costs(memory, [{"collect": value} for value in measured])
    found = asdict(read_costs(memory))

    assert min(measured) * 0.999 <= found.pop("collect") <= max(measured) * 1.001
    assert found == {name: value for name, value in asdict(Costs()).items() if name != "collect"}


@pytest.mark.parametrize("data", GARBAGE)
def test_costs_that_can_not_be_read_are_the_defaults(data: bytes) -> None:
    memory = store()
    memory.set("costs", data)

    assert read_costs(memory) == Costs()


# Splits.


@given(st.permutations([1, 2, 3]), st.dictionaries(st.text(max_size=5), seconds, max_size=4))
def test_a_split_is_kept_until_every_shard_has_run(order: list[int], durations: dict[str, float]) -> None:
    memory = store()
    for index in order:
        split = Split.current(memory, 3, durations if index == order[0] else {"other": 1.0})
        assert split.seconds == durations
        split.save(memory, Shard(index, 3))

    assert Split.current(memory, 3, {"new": 1.0}).seconds == {"new": 1.0}


def test_a_shard_that_never_runs_does_not_keep_a_split_for_ever() -> None:
    memory = store()
    for _ in range(6):
        Split.current(memory, 2, {"old": 1.0}).save(memory, Shard(1, 2))

    assert Split.current(memory, 2, {"new": 1.0}).seconds == {"new": 1.0}


@pytest.mark.parametrize("data", GARBAGE)
def test_a_split_that_can_not_be_read_is_made_anew(data: bytes) -> None:
    memory = store()
    memory.set("shards/2", data)

    assert Split.current(memory, 2, {"a": 1.0}) == Split({"a": 1.0})


# The orders of workers.


def test_a_run_without_workers_forgets_no_order() -> None:
    memory = store()
    save_orders(memory, {"gw0": ["b", "a"]})
    save_orders(memory, {})

    assert order_of(memory, "gw0") == ["b", "a"]


@pytest.mark.parametrize("data", GARBAGE)
def test_orders_that_can_not_be_read_are_none(data: bytes) -> None:
    memory = store()
    memory.set("workers", data)

    with pytest.raises(pytest.UsageError, match="no parallel run is remembered"):
        order_of(memory, "gw0")


# What is known of a test.


def test_a_job_says_what_the_history_and_the_verdict_say() -> None:
    known = Knowledge.of(
        {
            "a.py::slow": History(duration=3.0, last=Outcome.PASSED),
            "a.py::failing": History(duration=1.0, last=Outcome.FAILED),
            "a.py::never measured": History(last=Outcome.FAILED),
            "a.py::flaky": History(duration=1.0, last=Outcome.PASSED, flaky=2),
        },
        {"a.py::slow": Verdict(Reason.CHANGED)},
    )
    names = ("slow", "failing", "never measured", "flaky", "new")
    jobs = known.describe([plain_meta(f"a.py::{name}") for name in names])

    assert [job.failed_last for job in jobs] == [False, True, True, True, False]
    assert [job.is_new for job in jobs] == [False, False, False, False, True]
    assert [job.changed for job in jobs] == [True, False, False, False, False]
    assert [job.seconds for job in jobs] == [3.0, 1.0, 1.0, 1.0, 1.0]
