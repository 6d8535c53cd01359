"""Histories, records and facts as hypothesis makes them."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_perfcache.model import Fact, History, Outcome, Record, Told, Trace

KEYS = ("file:a.json", "file:b.json", "env:REGION", "skeleton:m.py", "block:m.py::f", "dist:attrs")
facts = st.builds(Fact, st.sampled_from(KEYS), st.sampled_from((b"1" * 16, b"2" * 16)))
GROUPS = tuple(tuple(Fact(key, value * 16) for key in KEYS[:count]) for count in (1, 3) for value in (b"1", b"2"))
"""Facts that records share as one object."""
shared = st.lists(st.sampled_from(GROUPS), max_size=2, unique=True).map(tuple)
traces = st.builds(Trace, st.lists(facts, max_size=5, unique=True).map(tuple), shared)
times = st.floats(0, 2e9, allow_nan=False)
durations = st.none() | st.floats(0, 1e4, allow_nan=False)
TELLABLE = (Outcome.SKIPPED, Outcome.XFAILED, Outcome.XPASSED)
places = st.none() | st.tuples(st.text(max_size=5), st.integers(1, 999))
tolds = st.builds(Told, st.sampled_from(TELLABLE), st.text(max_size=5), st.sampled_from(("setup", "call")), places)
records = st.builds(Record, traces, st.booleans(), times, st.none()) | st.builds(
    Record, traces, st.just(False), times, tolds
)
histories = st.builds(
    History,
    st.lists(records, max_size=5).map(tuple),
    durations,
    st.none() | st.sampled_from(Outcome),
    st.sampled_from(("", "connects to example.org")),
    st.integers(0, 3),
)


@st.composite
def runs(draw: st.DrawFn) -> History:
    """What one run leaves: at most one record, of a pass, of a failure, or of what can be told again."""
    last = draw(st.sampled_from(Outcome))
    kept: tuple[Record, ...] = ()
    untracked = draw(st.sampled_from(("", "starts a program: ls")))
    if not untracked and last in (Outcome.PASSED, Outcome.FAILED):
        kept = (Record(draw(traces), last is Outcome.PASSED, draw(times)),)
    elif not untracked and last in TELLABLE and draw(st.booleans()):
        kept = (Record(draw(traces), False, draw(times), Told(last, draw(st.text(max_size=5)), "call")),)
    return History(kept, draw(st.floats(0, 1e4)), last, untracked)
