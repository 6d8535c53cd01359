"""What travels from worker to controller, and what marks may say."""

from __future__ import annotations

import execnet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.schedule.jobs import SESSION, Claim, Setup
from pytest_perfcache.schedule.meta import (
    CLAIMS_ATTRIBUTE,
    UNMARKED,
    ResourceError,
    TestMeta,
    claims,
    decode,
    encode,
    job_of,
    parse_claim,
    plain_meta,
)

text = st.text(max_size=8)
claim_strategy = st.builds(
    Claim,
    resource=text,
    amount=st.none() | st.integers(1, 9),
    shared=st.booleans(),
    holder=text,
    scope=text,
)
meta_strategy = st.builds(
    TestMeta,
    nodeid=text,
    file=text,
    scopes=st.lists(text, max_size=3).map(tuple),
    claims=st.lists(claim_strategy, max_size=2).map(tuple),
    fixtures=st.lists(st.tuples(text, text), max_size=2).map(tuple),
    group=text,
    alone=st.booleans(),
    parallel_safe=st.booleans(),
)


@given(st.lists(meta_strategy, max_size=6))
def test_metas_survive_the_channel(metas: list[TestMeta]) -> None:
    assert decode(execnet.loads(execnet.dumps(encode(metas)))) == metas


def test_what_tests_have_in_common_is_sent_once() -> None:
    metas = [TestMeta(f"test_a.py::test[{i}]", file="test_a.py") for i in range(1000)]
    assert len(encode(metas)["profiles"]) == 1


def test_another_version_is_refused() -> None:
    with pytest.raises(ResourceError, match="another version"):
        decode({**encode([]), "version": 0})


def test_a_node_id_alone_gives_file_and_scopes() -> None:
    meta = plain_meta("pkg/test_a.py::TestX::test_y[1]")
    assert meta.file == "pkg/test_a.py"
    assert meta.scopes == (SESSION, "pkg/test_a.py", "pkg/test_a.py::TestX")


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (("db",), {}, Claim("db")),
        (("gpu",), {"amount": 1}, Claim("gpu", amount=1)),
        (("db",), {"shared": True}, Claim("db", shared=True)),
    ],
)
def test_marks_that_can_be_used(args: tuple[object, ...], kwargs: dict[str, object], expected: Claim) -> None:
    assert parse_claim(args, kwargs, where="t") == expected


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("",), {}),
        ((1,), {}),
        (("a", "b"), {}),
        (("a",), {"count": 1}),
        (("a",), {"amount": 0}),
        (("a",), {"amount": True}),
        (("a",), {"amount": 1.5}),
        (("a",), {"shared": 1}),
        (("a",), {"shared": True, "amount": 1}),
    ],
)
def test_marks_that_cannot_be_used_name_the_test(args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    with pytest.raises(ResourceError, match=r"test_a\.py::test_x"):
        parse_claim(args, kwargs, where="test_a.py::test_x")


def test_a_fixture_function_carries_its_claims() -> None:
    @claims("db")
    @claims("gpu", amount=1)
    def fixture() -> None: ...

    assert set(getattr(fixture, CLAIMS_ATTRIBUTE)) == {Claim("db"), Claim("gpu", amount=1)}


def test_measured_and_unmeasured_set_up_costs_add_up_by_scope() -> None:
    meta = TestMeta("a", scopes=(SESSION, "m"), fixtures=(("x", "m"), ("y", "m"), ("z", SESSION)))
    job = job_of(meta, 1.0, setup_seconds={("x", "m"): 0.5, ("z", SESSION): 0.0}, unknown_setup=0.25)
    assert job.setups == (Setup("m", 0.75),)


def test_where_only_marked_tests_are_parallel_the_others_exclude_each_other() -> None:
    unmarked = job_of(TestMeta("a"), 1.0, only_marked=True)
    marked = job_of(TestMeta("b", parallel_safe=True), 1.0, only_marked=True)
    assert unmarked.claims == (Claim(UNMARKED),)
    assert marked.claims == ()
