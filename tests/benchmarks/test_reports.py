"""The plugin's JSON report is read in both of its forms, and a process that died has none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.session import Verdict, measure, read_verdicts

if TYPE_CHECKING:
    from pathlib import Path

TEST = {"verdict": "run", "reason": "new test", "outcome": "passed", "duration": 0.5, "worker": None}


@pytest.mark.parametrize("tests", [{"t.py::a": TEST}, [{"nodeid": "t.py::a", **TEST}]], ids=["object", "list"])
def test_verdicts_are_read_by_node_id(tmp_path: Path, tests: object) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"version": 1, "summary": {}, "tests": tests}))

    assert read_verdicts(path) == {"t.py::a": Verdict("run", "new test", "passed", 0.5)}


@pytest.mark.parametrize("content", [None, '{"version": 1, "tes'], ids=["absent", "cut short"])
def test_a_report_that_is_not_whole_is_empty(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)

    assert read_verdicts(path) == {}


def test_a_process_and_its_children_end_at_the_time_limit(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "sleep 60 & sleep 60"]

    status, _, peak = measure(command, cwd=tmp_path, environment={}, log=tmp_path / "log", timeout=0.1)

    assert status == -14
    assert peak > 0
