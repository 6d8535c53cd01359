"""The state machine, message by message."""

from __future__ import annotations

from itertools import product

import pytest

from pytest_perfcache.schedule.assignment import Assignment, Send
from pytest_perfcache.schedule.jobs import SESSION, Claim, Job, Order, Setup


def keys(send: Send) -> list[str | None]:
    return [entry.key if entry else None for entry in send.entries]


def started(assignment: Assignment, *workers: str, can_pause: bool = True) -> list[Send]:
    for worker in workers:
        assignment.add_worker(worker, can_pause=can_pause)
    return assignment.step(0.0)


def run_to_end(assignment: Assignment, sends: list[Send]) -> dict[str, list[str]]:
    """Complete whatever may run, worker by worker, and collect who ran what."""
    ran: dict[str, list[str]] = {name: [] for name in assignment.workers}
    queue: dict[str, list[str | None]] = {name: [] for name in assignment.workers}
    closed: set[str] = set()
    now = 0.0
    for _ in range(10_000):
        for send in sends:
            queue[send.worker] += keys(send)
            if send.shutdown:
                closed.add(send.worker)
        ready = [name for name in queue if len(queue[name]) > 1 or (queue[name] and name in closed)]
        if not ready:
            break
        key = queue[ready[0]].pop(0)
        if key is not None:
            ran[ready[0]].append(key)
        now += 0.1
        assignment.complete(ready[0], key, now)
        sends = assignment.step(now)
    assert not any(queue.values())
    return ran


def test_every_ready_worker_gets_a_test_before_any_gets_two() -> None:
    assignment = Assignment([Job(f"t{i}", 0.001) for i in range(2)])
    assert [keys(send) for send in started(assignment, "a", "b")] == [["t0"], ["t1"]]


def test_the_shutdown_comes_with_the_last_test() -> None:
    assignment = Assignment([Job("only", 1.0)])
    assert started(assignment, "a") == [Send("a", (Job("only", 1.0),), shutdown=True)]
    assert assignment.finished


def test_a_long_test_is_followed_by_a_pause_and_nothing_is_committed_behind_it() -> None:
    assignment = Assignment([Job(f"t{i}", 5.0) for i in range(3)], order=Order.NONE)
    assert [keys(send) for send in started(assignment, "a")] == [["t0", None]]
    assert len(assignment.pending) == 2


def test_short_tests_are_committed_ahead() -> None:
    assignment = Assignment([Job(f"t{i}", 0.001) for i in range(1000)], order=Order.NONE)
    (send,) = started(assignment, "a")
    assert 5 <= len(send.entries) < 50
    assert keys(send) == [f"t{i}" for i in range(len(send.entries))]


def test_without_pauses_a_test_is_held() -> None:
    assignment = Assignment([Job(f"t{i}", 5.0) for i in range(3)], order=Order.NONE)
    assert [keys(send) for send in started(assignment, "a", can_pause=False)] == [["t0", "t1"]]


def test_tests_of_a_costly_set_up_are_held_on_one_worker() -> None:
    def costly(index: int, module: str) -> Job:
        return Job(f"{module}{index}", 0.5, scopes=(SESSION, module), setups=(Setup(module, 1.0),))

    assignment = Assignment([costly(index, module) for index in range(3) for module in "mn"])
    ran = run_to_end(assignment, started(assignment, "a", "b"))
    assert sorted("".join(sorted({key[0] for key in keys})) for keys in ran.values()) == ["m", "n"]


def test_a_group_stays_on_the_worker_that_began_it() -> None:
    jobs = [Job(f"g{i}", 1.0, group="g") for i in range(4)] + [Job(f"t{i}", 1.0) for i in range(4)]
    assignment = Assignment(jobs)
    ran = run_to_end(assignment, started(assignment, "a", "b"))
    assert sum(any(key.startswith("g") for key in keys) for keys in ran.values()) == 1


def test_a_group_moves_on_when_its_worker_is_lost() -> None:
    assignment = Assignment([Job(f"g{i}", 1.0, group="g") for i in range(4)])
    started(assignment, "a", "b")
    blamed = assignment.remove_worker("a")
    assert blamed is not None
    assert [send.worker for send in assignment.step(1.0)] == ["b"]


def test_a_crash_is_blamed_on_the_running_test_only() -> None:
    assignment = Assignment([Job(f"t{i}", 0.001) for i in range(100)], order=Order.NONE)
    (send,) = started(assignment, "a")
    blamed = assignment.remove_worker("a")
    assert blamed is not None
    assert blamed.key == "t0"
    assert len(assignment.pending) == 99
    assert len(send.entries) > 1


def test_a_worker_lost_with_its_gate_closed_is_blamed_on_no_test() -> None:
    assignment = Assignment([Job("a", 1.0, claims=(Claim("r"),)), Job("b", 1.0, claims=(Claim("r"),))])
    started(assignment, "one", "two")
    assert assignment.remove_worker("two") is None


def test_only_tests_that_a_worker_collected_are_sent_to_it() -> None:
    assignment = Assignment([Job("x", 1.0), Job("y", 1.0)], expected_workers=2)
    assignment.add_worker("a", knows=frozenset({"x"}))
    assert [keys(send) for send in assignment.step(0.0)] == [["x", None]]
    assignment.add_worker("b", knows=frozenset({"y"}))
    assert ["y"] in [keys(send) for send in assignment.step(0.0)]


def test_a_test_that_no_worker_knows_does_not_hang_the_run() -> None:
    assignment = Assignment([Job("x", 1.0)], expected_workers=1)
    assignment.add_worker("a", knows=frozenset())
    assert assignment.step(0.0) == [Send("a", (), shutdown=True)]
    assert [job.key for job in assignment.unreachable] == ["x"]
    assert assignment.finished


def test_nothing_is_handed_out_after_the_stop() -> None:
    assignment = Assignment([Job(f"t{i}", 1.0) for i in range(3)])
    started(assignment, "a")
    assignment.stop()
    assert assignment.step(1.0) == []
    assert assignment.finished


def test_a_completion_out_of_turn_is_an_error() -> None:
    assignment = Assignment([Job("x", 1.0), Job("y", 1.0)], order=Order.NONE)
    started(assignment, "a")
    with pytest.raises(ValueError, match="completed 'y', not 'x'"):
        assignment.complete("a", "y", 1.0)


def test_serial_tests_come_last_and_one_at_a_time() -> None:
    jobs = [Job(f"s{i}", 1.0, alone=True) for i in range(2)] + [Job(f"t{i}", 1.0) for i in range(4)]
    assignment = Assignment(jobs)
    sends = started(assignment, "a", "b")
    assert all(key is None or key.startswith("t") for send in sends for key in keys(send))
    ran = run_to_end(assignment, sends)
    assert sorted(key for keys in ran.values() for key in keys) == ["s0", "s1", "t0", "t1", "t2", "t3"]


def test_every_small_suite_runs_completely_whatever_it_claims() -> None:
    kinds: list[tuple[Claim, ...]] = [(), (Claim("r"),), (Claim("r", shared=True),), (Claim("c", amount=1),)]
    for claims in product(kinds, repeat=3):
        for alone, can_pause, workers in product((False, True), (False, True), (1, 2, 3)):
            jobs = [Job(f"t{i}", 1.0 + i, claims=claim) for i, claim in enumerate(claims)]
            jobs.append(Job("last", 1.0, alone=alone))
            assignment = Assignment(jobs, capacities={"c": 2})
            sends = started(assignment, *"abc"[:workers], can_pause=can_pause)
            ran = run_to_end(assignment, sends)
            assert sorted(key for keys in ran.values() for key in keys) == ["last", "t0", "t1", "t2"]
            assert assignment.finished


def test_waiting_for_a_resource_is_remembered() -> None:
    jobs = [Job("a", 1.0, claims=(Claim("r"),)), Job("b", 1.0, claims=(Claim("r"),)), Job("c", 0.5)]
    assignment = Assignment(jobs, order=Order.NONE)
    started(assignment, "one", "two")
    assignment.complete("two", "c", 0.5)
    assignment.complete("two", None, 0.5)
    assignment.step(0.5)
    assignment.complete("one", "a", 1.0)
    assignment.step(1.0)
    assert [(wait.worker, wait.start, wait.end, wait.resources) for wait in assignment.waits] == [
        ("two", 0.5, 1.0, frozenset("r"))
    ]
