"""The adapter with typed mock nodes: indices, crashes, late workers, the end; no process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_perfcache.schedule.jobs import Claim, Job
from pytest_perfcache.schedule.meta import ResourceError, TestMeta, encode, encode_error, job_of
from pytest_perfcache.schedule.xdist_scheduler import Links, PerfcacheScheduling, nodeid_of, unique_keys
from pytest_perfcache.schedule.xdist_worker import LINK, STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xdist.workermanage import WorkerController


class MockChannel:
    """The controller's end of a link."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.closed = False
        self.callback: Callable[[object], None] = self.sent.append

    def setcallback(self, callback: Callable[[object], None]) -> None:
        self.callback = callback

    def send(self, message: object) -> None:
        if self.closed:
            raise OSError("cannot send to a closed channel")
        self.sent.append(message)


class MockGateway:
    def __init__(self, name: str) -> None:
        self.id = name
        self.channel = MockChannel()

    def newchannel(self) -> MockChannel:
        return self.channel


class MockNode:
    """What the scheduler sees of a `WorkerController`."""

    def __init__(self, name: str) -> None:
        self.gateway = MockGateway(name)
        self.workerinput: dict[str, object] = {}
        self.commands: list[int] = []
        self.shutting_down = False
        self.dead = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        if self.dead:
            raise OSError("cannot send")
        self.commands += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Run:
    """A scheduler and its nodes, driven as `DSession` drives it."""

    def __init__(self, *, seconds: float = 1.0, expected: int = 1, capacities: dict[str, int] | None = None) -> None:
        self.links = Links()
        self.now = 0.0

        def describe(metas: Sequence[TestMeta]) -> list[Job]:
            return [job_of(meta, seconds) for meta in metas]

        self.scheduler = PerfcacheScheduling(
            self.links,
            describe,
            capacities=capacities or {},
            expected_workers=expected,
            clock=lambda: self.now,
        )

    def join(self, name: str, metas: Sequence[TestMeta], *, tells: bool = True) -> MockNode:
        node = MockNode(name)
        self.links.open(as_node(node))
        self.scheduler.add_node(as_node(node))
        if tells:
            node.gateway.channel.callback(encode(metas))
        self.scheduler.add_node_collection(as_node(node), [meta.nodeid for meta in metas])
        assert self.scheduler.collection_is_completed
        self.scheduler.schedule()
        return node

    def complete(self, node: MockNode, index: int) -> None:
        self.now += 1.0
        self.scheduler.mark_test_complete(as_node(node), index, 1.0)


def as_node(node: MockNode) -> WorkerController:
    return cast("Any", node)


def metas(*names: str, claims: tuple[Claim, ...] = ()) -> list[TestMeta]:
    return [TestMeta(f"test_a.py::{name}", claims=claims) for name in names]


def test_the_channel_is_in_the_workerinput() -> None:
    node = MockNode("gw0")
    Links().open(as_node(node))
    assert node.workerinput == {LINK: node.gateway.channel}


def test_a_long_test_is_followed_by_the_index_behind_all_tests() -> None:
    node = Run().join("gw0", metas("a", "b", "c"))
    assert node.commands == [0, 3]


def test_indices_are_those_of_the_workers_own_collection() -> None:
    run = Run(expected=2)
    first = run.join("gw0", metas("a", "b"))
    second = run.join("gw1", metas("b", "a"))
    assert first.commands == [0, 2]
    assert second.commands == [0]
    assert second.shutting_down


def test_a_run_ends_when_all_tests_are_complete() -> None:
    run = Run()
    node = run.join("gw0", metas("a", "b"))
    assert run.scheduler.has_pending
    run.complete(node, 0)
    run.complete(node, 2)
    assert node.commands == [0, 2, 1]
    assert node.shutting_down
    run.complete(node, 1)
    assert run.scheduler.tests_finished
    assert run.scheduler.remove_node(as_node(node)) is None
    assert run.scheduler.sent == {"gw0": ["test_a.py::a", "test_a.py::b"]}


def test_an_empty_collection_is_a_finished_run() -> None:
    run = Run()
    node = run.join("gw0", [])
    assert run.scheduler.tests_finished
    assert node.shutting_down


def test_a_crash_names_the_running_test_and_a_new_worker_runs_the_rest() -> None:
    run = Run()
    node = run.join("gw0", metas("a", "b"))
    assert run.scheduler.remove_node(as_node(node)) == "test_a.py::a"
    assert not run.scheduler.tests_finished
    replacement = run.join("gw1", metas("a", "b"))
    assert replacement.commands == [1]
    assert replacement.shutting_down


def test_a_blamed_test_can_be_run_again() -> None:
    run = Run()
    node = run.join("gw0", metas("a"))
    crashed = run.scheduler.remove_node(as_node(node))
    assert crashed == "test_a.py::a"
    run.scheduler.mark_test_pending(crashed)
    assert run.join("gw1", metas("a")).commands == [0]


def test_a_worker_lost_before_its_collection_is_blamed_on_nothing() -> None:
    run = Run()
    node = MockNode("gw0")
    run.scheduler.add_node(as_node(node))
    assert run.scheduler.remove_node(as_node(node)) is None
    with pytest.raises(KeyError):
        run.scheduler.remove_node(as_node(node))


def test_a_worker_that_ended_by_itself_leaves_its_tests_to_others() -> None:
    run = Run(expected=2)
    first = run.join("gw0", metas("a", "b", "c"))
    second = run.join("gw1", metas("a", "b", "c"))
    first.workeroutput = {"exitstatus": 4}  # type: ignore[attr-defined]
    assert run.scheduler.remove_node(as_node(first)) is None
    run.complete(second, 1)
    run.complete(second, 3)
    run.complete(second, 0)
    run.complete(second, 3)
    assert sorted(index for index in second.commands if index != 3) == [0, 1, 2]


def test_sending_to_a_dead_worker_is_left_to_its_crash_report() -> None:
    run = Run()
    node = run.join("gw0", metas("a", "b"))
    node.dead = True
    run.complete(node, 0)
    run.complete(node, 2)
    assert run.scheduler.remove_node(as_node(node)) in {"test_a.py::b", None}


def test_a_node_shut_down_by_xdist_gets_nothing_more() -> None:
    run = Run(seconds=0.001)
    node = run.join("gw0", metas(*"abcdefghijklmnop"))
    before = list(node.commands)
    node.shutting_down = True
    run.complete(node, before[0])
    assert node.commands == before


def test_the_stop_reaches_every_worker_that_lives() -> None:
    run = Run(expected=2)
    dead = run.join("gw0", metas("a", "b", "c"))
    alive = run.join("gw1", metas("a", "b", "c"))
    dead.gateway.channel.closed = True
    run.scheduler.stop()
    assert alive.gateway.channel.sent == [STOP]
    commands = list(alive.commands)
    run.complete(alive, commands[0])
    assert alive.commands == commands
    assert run.scheduler.tests_finished


def test_a_worker_without_perfcache_still_takes_part() -> None:
    run = Run()
    node = run.join("gw0", metas("a", "b", "c"), tells=False)
    assert len(node.commands) == 2
    assert set(node.commands) < {0, 1, 2}


def test_tests_with_one_node_id_are_told_apart() -> None:
    run = Run()
    node = run.join("gw0", metas("a", "a"))
    run.complete(node, 0)
    run.complete(node, 2)
    assert node.commands == [0, 2, 1]


def test_a_worker_that_collected_more_runs_the_rest() -> None:
    run = Run(expected=2)
    first = run.join("gw0", metas("a"))
    second = run.join("gw1", metas("a", "b"))
    assert first.commands == [0]
    assert second.commands == [1]


def test_too_large_a_claim_is_refused_with_the_node_id() -> None:
    with pytest.raises(pytest.UsageError, match=r"test_a\.py::a asks for 3 of 'gpu', there are 2"):
        Run(capacities={"gpu": 2}).join("gw0", metas("a", claims=(Claim("gpu", amount=3),)))


def test_a_workers_complaint_about_a_mark_ends_the_run_with_its_sentence() -> None:
    run = Run()
    node = MockNode("gw0")
    run.links.open(as_node(node))
    run.scheduler.add_node(as_node(node))
    node.gateway.channel.callback(encode_error(ResourceError("test_a.py::a: no")))
    with pytest.raises(pytest.UsageError, match=r"test_a\.py::a: no"):
        run.scheduler.add_node_collection(as_node(node), ["test_a.py::a"])


def test_nothing_is_ever_stolen() -> None:
    with pytest.raises(NotImplementedError):
        Run().scheduler.remove_pending_tests_from_node(as_node(MockNode("gw0")), [0])


def test_keys_of_repeated_node_ids() -> None:
    keys = unique_keys(["a", "b", "a"])
    assert len(set(keys)) == 3
    assert [nodeid_of(key) for key in keys] == ["a", "b", "a"]
