"""What was measured of some suites stays when others are measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.timing import ALONE, Timing, merged, page


def timing(suite: str, seconds: float) -> Timing:
    return Timing(suite, 10, "shop.py::price", 0.1, {"plain": [(seconds, 1)], "perfcache: unchanged": [(1.0, 1)]})


def test_a_suite_is_replaced_and_others_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "timing.json"
    target.write_text(json.dumps([asdict(timing(name, 2.0)) for name in ("flask", "attrs")]))

    found = merged(target, [timing("attrs", 4.0), timing("click", 8.0)])

    assert [(one.suite, one.seconds("plain")) for one in found] == [("flask", 2.0), ("attrs", 4.0), ("click", 8.0)]
    assert found[0].ratio("perfcache: unchanged", "plain") == 0.5


def test_the_first_measurement_stands_alone(tmp_path: Path) -> None:
    assert merged(tmp_path / "none.json", [timing("flask", 2.0)]) == [timing("flask", 2.0)]


def test_an_edited_run_is_held_to_plain_pytest_of_the_tests_concerned_where_that_was_measured() -> None:
    both, one = timing("flask", 2.0), timing("attrs", 4.0)
    for found, seconds in ((both, 3.0), (one, 1.0)):
        found.samples.update({"perfcache: recording": [(4.0, 1)], "perfcache: one body edited": [(seconds, 1)]})
    both.samples[ALONE] = [(2.0, 1)]

    rows = [line for line in page([both, one], "3.11", "command").splitlines() if f"over {ALONE}" in line]

    assert rows == [f"| *perfcache: one body edited, over {ALONE}* | 1.50 |  |"]
