"""Sketches come back from the store as they were, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.collect.sketch import EMPTY, ClassSketch, ItemSketch, MarkSketch, Sketch, pack, unpack
from pytest_perfcache.errors import CodecError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(st.lists(PLAIN), st.dictionaries(st.text(), PLAIN))
def test_plain_arguments_of_a_mark_come_back_with_their_types(args: list[Any], kwargs: dict[str, Any]) -> None:
    assert repr(unpack(pack(tuple(args), kwargs))) == repr((tuple(args), kwargs))


@pytest.mark.parametrize("value", [object(), {1}, b"x", 1j, [print], {"a": {"b": {2}}}, type])
def test_other_arguments_are_not_kept(value: object) -> None:
    assert pack((value,), {}) is None
    assert pack((), {"name": value}) is None


def test_a_subclass_of_a_plain_type_is_not_plain() -> None:
    class Name(str):
        pass

    assert pack((Name("x"),), {}) is None


ITEM = ItemSketch("test_p[1]", "test_p", 0, "Function", "t/test_a.py", 4, "C.test_p[1]", (0,), ("a",), ("tmp",), True)
SKETCH = Sketch(
    (MarkSketch("slow", pack((1, (2,)), {})), MarkSketch("x")), (1,), (ClassSketch("C", -1, "Class", ()),), (ITEM,)
)


def test_a_sketch_comes_back() -> None:
    found = Sketch.from_bytes(SKETCH.to_bytes())
    assert [tuple(item[:7]) for item in found.items] == [tuple(ITEM[:7])]
    assert found.marks[0].name == "slow"
    assert unpack(found.marks[0].arguments) == ((1, (2,)), {})
    assert found.marks[1].arguments is None
    assert found.parametrized
    assert found.to_bytes() == SKETCH.to_bytes()
    assert not Sketch.from_bytes(EMPTY.to_bytes()).items


@given(st.binary(max_size=40))
def test_damaged_bytes_are_refused(noise: bytes) -> None:
    for damaged in (noise, SKETCH.to_bytes()[: len(noise)], SKETCH.to_bytes()[:10] + noise):
        with pytest.raises(CodecError):
            Sketch.from_bytes(damaged)
