"""A module's records as bytes and back."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact, History, ModuleRecords, Outcome, Record, Trace
from pytest_perfcache.store.records import decode, encode

names = st.text(max_size=12)
facts = st.builds(Fact, names, st.binary(min_size=16, max_size=16))
seconds = st.floats(0, 1e10, allow_nan=False)


@st.composite
def modules(draw: st.DrawFn) -> ModuleRecords:
    """Traces drawn from one pool of facts, as those of a real module are."""
    pool = draw(st.lists(facts, max_size=8, unique=True))
    some = st.lists(st.sampled_from(pool), unique=True).map(tuple) if pool else st.just(())
    groups = draw(st.lists(some, min_size=1, max_size=3))
    traces = st.builds(Trace, some, st.lists(st.sampled_from(groups), max_size=3).map(tuple))
    records = st.builds(Record, traces, st.booleans(), seconds)
    histories = st.builds(
        History,
        st.lists(records, max_size=3).map(tuple),
        st.none() | seconds,
        st.none() | st.sampled_from(Outcome),
        names,
        st.integers(0, 9),
    )
    return ModuleRecords(draw(names), draw(st.dictionaries(names, histories, max_size=4)))


def unordered(module: ModuleRecords) -> Any:
    """A trace is a set of facts: their order says nothing."""
    return module.path, [
        (
            nodeid,
            h.duration,
            h.last,
            h.untracked,
            h.flaky,
            [(sorted(set(r.facts)), r.passed, r.recorded_at, r.told) for r in h.records],
        )
        for nodeid, h in module.tests.items()
    ]


def realistic(tests: int, common: int = 150, own: int = 12) -> ModuleRecords:
    """Tests that share most of their facts and have a few of their own."""

    def fact(kind: str, number: int) -> Fact:
        return Fact(
            f"block:src/package/{kind}_{number % 40}.py::Class.method_{number}", struct.pack("<16s", b"%d" % number)
        )

    shared = tuple(fact("shared", number) for number in range(common))
    return ModuleRecords(
        "tests/test_module.py",
        {
            f"tests/test_module.py::test_{n}": History(
                (Record(Trace(tuple(fact("own", n * own + k) for k in range(own)), (shared,)), True, 1.7e9 + n),),
                0.01,
                Outcome.PASSED,
            )
            for n in range(tests)
        },
    )


def naive_size(module: ModuleRecords) -> int:
    """Each record with its own list of facts in full."""
    traces = (record.facts for history in module.tests.values() for record in history.records)
    return sum(len(fact.key) + len(fact.fingerprint) for trace in traces for fact in trace)


@given(modules())
def test_what_is_written_is_read_again(module: ModuleRecords) -> None:
    assert unordered(decode(encode(module))) == unordered(module)


@given(modules())
def test_writing_what_was_read_gives_bytes_that_mean_the_same(module: ModuleRecords) -> None:
    once = decode(encode(module))

    assert unordered(decode(encode(once))) == unordered(once)


@given(modules(), st.data())
def test_cut_short_it_is_refused(module: ModuleRecords, data: st.DataObject) -> None:
    whole = encode(module)
    kept = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(CodecError):
        decode(whole[:kept])


@given(modules(), st.data())
def test_a_flipped_bit_is_refused_or_changes_nothing(module: ModuleRecords, data: st.DataObject) -> None:
    whole = bytearray(encode(module))
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    whole[at] ^= 1 << bit

    assert decodes_to(bytes(whole)) in (None, unordered(module))


@given(st.binary(max_size=200))
@example(b"")
@example(b"records1\n")
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**33) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(("path", "keys", "tests")), inner),
    max_leaves=8,
)
heads = json_values | st.fixed_dictionaries({"path": json_values, "keys": json_values, "tests": json_values})


@given(heads, st.lists(st.integers(0, 5) | st.just(2**32 - 1), max_size=12))
def test_a_well_packed_lie_is_refused_or_read_and_raises_nothing_else(head: Any, numbers: list[int]) -> None:
    decodes_to(packed(json.dumps(head).encode(), struct.pack(f"<{len(numbers)}I", *numbers)))


def test_more_fingerprints_announced_than_there_are_bytes_is_refused_at_once() -> None:
    with pytest.raises(CodecError):
        decode(packed(b'{"path":"a","keys":[],"tests":[]}', struct.pack("<I", 2**32 - 1)))


def test_a_head_nested_without_end_is_refused() -> None:
    with pytest.raises(CodecError):
        decode(packed(b"[" * 200_000, b""))


@pytest.mark.parametrize(
    "test",
    [
        ["t", "long", "passed", "", 0, []],
        ["t", None, "passed", 7, 0, []],
        ["t", None, "passed", "", None, []],
        ["t", None, "passed", "", 0, [["yes", 1.0, 0]]],
        ["t", None, "passed", "", 0, [[True, "today", 0]]],
        ["t", None, "danced", "", 0, []],
        [7, None, "passed", "", 0, []],
    ],
)
def test_a_value_of_another_type_is_refused(test: list[Any]) -> None:
    head = {"path": "a", "keys": [], "tests": [test]}

    with pytest.raises(CodecError):
        decode(packed(json.dumps(head).encode(), struct.pack("<II", 0, 0)))


@pytest.mark.parametrize("tests", [1, 10, 200])
def test_a_record_costs_a_small_part_of_its_facts_written_in_full(tests: int) -> None:
    module = realistic(tests)

    assert len(encode(module)) < naive_size(module) / (4 if tests == 1 else 8)


def test_what_all_traces_share_is_paid_once() -> None:
    few, many = realistic(100, common=10), realistic(100, common=1000)
    growth = len(encode(many)) - len(encode(few))

    assert growth / 990 < 40 + 16


def test_one_more_test_costs_less_than_a_kilobyte() -> None:
    growth = (len(encode(realistic(300))) - len(encode(realistic(200)))) / 100

    assert growth < 1000


def packed(head: bytes, body: bytes) -> bytes:
    """The outer layers as :func:`encode` makes them, around any contents."""
    inner = zlib.compress(head)
    return b"records1\n" + len(inner).to_bytes(8, "little") + inner + zlib.compress(body)


def decodes_to(data: bytes) -> Any:
    """What these bytes mean, None where they are refused."""
    try:
        return unordered(decode(data))
    except CodecError:
        return None
