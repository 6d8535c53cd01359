"""The figures of a session, and what the terminal and the JSON file say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.model import Fact, History, ModuleRecords, Outcome, Reason, Record, TestResult, Trace, Verdict
from pytest_perfcache.report import jsonfile, text
from pytest_perfcache.report.stats import Session
from pytest_perfcache.store.protocol import StoreStats

STORE = StoreStats(hits=1, misses=2, evictions=3, entries=4, size_bytes=5_600)
SESSION = Session(
    verdicts={
        "a.py::hit": Verdict(Reason.HIT, duration=2.0),
        "a.py::new": Verdict(Reason.NEW),
        "b.py::changed": Verdict(Reason.CHANGED, "file:x changed", 1.0),
        "b.py::not selected": Verdict(Reason.NEW),
    },
    results={
        "a.py::new": TestResult("a.py::new", Outcome.PASSED, 1.0, "gw0"),
        "b.py::changed": TestResult("b.py::changed", Outcome.FAILED, 3.0, "gw1"),
    },
    seconds=4.0,
    workers=2,
)
NOTHING = Session({}, {}, 0.0, 1)

nodeids = st.sampled_from([f"{module}.py::test_{number}" for module in "abc" for number in range(3)])
verdicts = st.builds(Verdict, st.sampled_from(Reason), st.text(max_size=5), st.none() | st.floats(0, 100))


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    ran = draw(st.sets(nodeids))
    results = {n: TestResult(n, draw(st.sampled_from(Outcome)), draw(st.floats(0, 100)), None) for n in sorted(ran)}
    return Session(draw(st.dictionaries(nodeids, verdicts)), results, draw(st.floats(0, 100)), draw(st.integers(1, 9)))


@given(sessions())
def test_every_test_that_was_a_hit_or_ran_is_counted_once(session: Session) -> None:
    totals, told = session.totals(), session.nodeids()

    assert len(told) == len(set(told)) == totals.hits + totals.runs
    assert set(session.results) <= set(told)
    assert sum(t.hits + t.runs for t in session.by_module().values()) == len(told)
    assert sum(t.spent for t in session.by_module().values()) == pytest.approx(totals.spent)
    assert sum(count for _, count in session.by_reason()) == len(session.results.keys() & session.verdicts.keys())


@given(sessions())
def test_shares_lie_between_nothing_and_all(session: Session) -> None:
    rate, efficiency = session.totals().hit_rate, session.efficiency

    assert (rate is None) == (not session.nodeids())
    assert rate is None or 0 <= rate <= 1
    assert efficiency is None or 0 <= efficiency <= 1


@given(sessions())
def test_the_json_report_has_each_test_and_agrees_with_its_summary(session: Session) -> None:
    document = json.loads(json.dumps(jsonfile.document(session)))

    verdicts = [test["verdict"] for test in document["tests"].values()]
    assert document["version"] == jsonfile.VERSION
    assert list(document["tests"]) == session.nodeids()
    assert (verdicts.count("hit"), verdicts.count("run")) == (document["summary"]["hits"], document["summary"]["runs"])
    assert document["summary"]["tests"] == len(verdicts)


def test_a_test_that_neither_ran_nor_was_a_hit_counts_for_nothing() -> None:
    totals = SESSION.totals(["b.py::not selected", "unknown"])

    assert (totals.hits, totals.runs, totals.hit_rate) == (0, 0, None)


def test_a_test_that_ran_is_told_as_it_ran() -> None:
    tests = jsonfile.document(SESSION)["tests"]

    assert tests["b.py::changed"] == {
        "verdict": "run",
        "reason": "changed: file:x changed",
        "outcome": "failed",
        "duration": 3.0,
        "worker": "gw1",
    }
    assert tests["a.py::hit"] == {
        "verdict": "hit",
        "reason": "unchanged",
        "outcome": "passed",
        "duration": 0.0,
        "worker": None,
    }


def test_the_file_is_made_with_its_directories(tmp_path: Path) -> None:
    jsonfile.write(SESSION, tmp_path / "deep" / "report.json")

    assert json.loads((tmp_path / "deep" / "report.json").read_text()) == jsonfile.document(SESSION)


def test_a_place_that_can_not_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        jsonfile.write(SESSION, tmp_path)


def test_the_summary_is_one_line() -> None:
    assert text.summary(SESSION) == ["hit rate 33.3 % (1 of 3), 2.00s saved, parallel efficiency 50 % on 2 workers"]


def test_where_nothing_was_selected_nothing_is_said() -> None:
    assert text.summary(NOTHING) == []
    assert NOTHING.efficiency is None


def test_the_long_form_tells_modules_reasons_the_slowest_and_the_store() -> None:
    assert list(text.long_form(SESSION, STORE)) == [
        "by module:",
        "  b.py: 0 cached (0.00s saved), 1 ran (3.00s)",
        "  a.py: 1 cached (2.00s saved), 1 ran (1.00s)",
        "by reason:",
        "  1 ran: no record",
        "  1 ran: changed",
        "slowest that ran:",
        "  3.00s b.py::changed",
        "  1.00s a.py::new",
        "store: 5.6 kB in 4 entries, 3 evictions",
    ]


def test_the_long_form_names_ten_modules_and_counts_the_rest() -> None:
    many = {f"m{n}.py::t": TestResult(f"m{n}.py::t", Outcome.PASSED, float(n), None) for n in range(12)}
    lines = list(text.long_form(Session({}, many, 1.0, 1), STORE))

    assert lines[1].startswith("  m11.py:")
    assert "  and 2 more modules" in lines


def test_explaining_tells_each_verdict_in_the_order_of_the_node_ids() -> None:
    assert list(text.explain(SESSION.verdicts, "")) == [
        "hit a.py::hit: unchanged",
        "run a.py::new: no record",
        "run b.py::changed: changed: file:x changed",
        "run b.py::not selected: no record",
    ]


def test_explaining_can_be_narrowed_by_the_start_of_the_node_id() -> None:
    assert list(text.explain(SESSION.verdicts, "a.py::h")) == ["hit a.py::hit: unchanged"]


def test_showing_tells_what_is_remembered_of_each_test() -> None:
    record = Record(Trace((Fact("file:x", b"1" * 16),)), True, 0.0)
    module = ModuleRecords(
        "a.py",
        {"a.py::t": History((record, record), 0.5, Outcome.PASSED), "a.py::u": History(untracked="connects to x")},
    )

    assert list(text.show([module], STORE)) == [
        "a.py: 2 tests, 2 records",
        "  a.py::t: passed, 0.50s, 2 records",
        "  a.py::u: connects to x, 0 records",
        "store: 5.6 kB in 4 entries",
    ]


@pytest.mark.parametrize(
    ("modules", "line"),
    [
        (0, ".perfcache, nothing recorded yet"),
        (1, ".perfcache, 1 test module known"),
        (2, ".perfcache, 2 test modules known"),
    ],
)
def test_the_header_says_where_and_how_much(modules: int, line: str) -> None:
    assert text.header(".perfcache", modules) == f"perfcache: {line}"


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0 %"), (1, "100 %"), (0.9999, "99.9 %"), (0.3, "30 %"), (1 / 3, "33.3 %")]
)
def test_only_all_of_it_is_a_hundred_percent(share: float, shown: str) -> None:
    assert text.percent(share) == shown


@pytest.mark.parametrize(("value", "shown"), [(0, "0.00s"), (0.00123, "1.23ms"), (0.01, "0.01s"), (75.5, "75.50s")])
def test_short_times_are_in_milliseconds(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_340_000, "2.34 MB"), (5 * 10**9, "5 GB")]
)
def test_sizes_are_in_decimal_units(count: int, shown: str) -> None:
    assert text.size(count) == shown
