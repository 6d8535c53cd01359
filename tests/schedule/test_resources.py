"""Claims are taken together or not at all, and never against each other."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.schedule.jobs import SESSION, Claim, Job
from pytest_perfcache.schedule.resources import Ledger

WHOLE = Claim("r")
READ = Claim("r", shared=True)
ONE = Claim("r", amount=1)
TWO = Claim("r", amount=2)


def job(key: str, *claims: Claim, alone: bool = False) -> Job:
    return Job(key, 1.0, scopes=(SESSION, "m"), claims=claims, alone=alone)


@pytest.mark.parametrize(
    ("first", "second", "granted"),
    [
        (first, second, granted)
        for (first, second), granted in {
            (WHOLE, WHOLE): False,
            (WHOLE, READ): False,
            (WHOLE, ONE): False,
            (READ, READ): True,
            (READ, ONE): False,
            (ONE, ONE): True,
            (ONE, TWO): False,
            (TWO, TWO): False,
        }.items()
    ],
)
def test_two_workers_and_one_resource_of_capacity_two(first: Claim, second: Claim, granted: bool) -> None:
    for a, b in ((first, second), (second, first)):
        ledger = Ledger({"r": 2})
        assert ledger.acquire("w1", job("a", a))
        assert ledger.can_acquire("w2", job("b", b)) is granted


def test_one_worker_may_queue_what_would_collide_between_two() -> None:
    for first, second in product([WHOLE, READ, ONE, TWO], repeat=2):
        ledger = Ledger({"r": 2})
        assert ledger.acquire("w1", job("a", first))
        assert ledger.acquire("w1", job("b", second))


def test_all_claims_or_none() -> None:
    ledger = Ledger()
    assert ledger.acquire("w1", job("a", Claim("x")))
    assert not ledger.acquire("w2", job("b", Claim("y"), Claim("x")))
    assert ledger.acquire("w3", job("c", Claim("y")))


def test_a_test_that_is_alone_waits_for_all_and_keeps_all_waiting() -> None:
    ledger = Ledger()
    free, alone = job("free"), job("alone", alone=True)
    assert ledger.acquire("w1", free)
    assert not ledger.can_acquire("w2", alone)
    ledger.release("w1", free, ())
    assert ledger.acquire("w2", alone)
    assert not ledger.can_acquire("w1", free)
    ledger.release("w2", alone, ())
    assert ledger.can_acquire("w1", free)


def test_a_fixture_holds_its_resource_until_the_worker_leaves_its_scope() -> None:
    ledger = Ledger()
    user = job("a", Claim("r", holder="fixture", scope="m"))
    assert ledger.acquire("w1", user)
    ledger.release("w1", user, (SESSION, "m"))
    assert not ledger.can_acquire("w2", job("b", WHOLE))
    follower = job("c")
    assert ledger.acquire("w1", follower)
    ledger.release("w1", follower, (SESSION,))
    assert ledger.can_acquire("w2", job("b", WHOLE))


def test_what_a_fixture_holds_counts_beside_what_a_test_needs() -> None:
    ledger = Ledger({"r": 3})
    assert ledger.acquire("w1", job("a", Claim("r", amount=1, holder="fixture", scope="m"), ONE))
    assert not ledger.can_acquire("w2", job("b", TWO))
    assert ledger.can_acquire("w2", job("b", ONE))


def test_what_a_lost_worker_held_is_free() -> None:
    ledger = Ledger()
    assert ledger.acquire("w1", job("a", WHOLE, alone=True))
    ledger.drop("w1")
    assert ledger.can_acquire("w2", job("b", WHOLE))


def test_more_than_exists_is_said_with_the_node_id() -> None:
    ledger = Ledger({"gpu": 2})
    assert ledger.excess(job("a", Claim("gpu", amount=2))) is None
    assert ledger.excess(job("a", Claim("gpu", amount=3))) == "a asks for 3 of 'gpu', there are 2"


claim_strategy = st.builds(
    Claim,
    resource=st.sampled_from("xy"),
    amount=st.sampled_from([None, 1, 2]),
)


@given(steps=st.lists(st.tuples(st.integers(0, 3), st.lists(claim_strategy, max_size=3), st.booleans()), max_size=30))
def test_amounts_held_never_exceed_the_capacity(steps: list[tuple[int, list[Claim], bool]]) -> None:
    ledger = Ledger({"x": 2, "y": 3})
    queues: dict[str, list[Job]] = {}
    for number, (worker, claims, frees) in enumerate(steps):
        name = f"w{worker}"
        queue = queues.setdefault(name, [])
        if frees and queue:
            ledger.release(name, queue.pop(0), ())
        wanted = job(f"t{number}", *claims)
        if ledger.acquire(name, wanted):
            queue.append(wanted)
        for resource in "xy":
            uses = [ledger.uses(name)[resource] for name in queues if resource in ledger.uses(name)]
            assert len(uses) <= 1 or not any(use.whole for use in uses)
            assert len(uses) <= 1 or sum(use.amount for use in uses) <= ledger.capacity(resource)
