"""The reference pages say what the code says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from docs.generate import DOCS, PARTS, PageError, fill, main
from pytest_perfcache.decide.table import TABLE
from pytest_perfcache.model import Outcome, Reason, TestResult, Verdict
from pytest_perfcache.report import jsonfile
from pytest_perfcache.report.stats import Session
from pytest_perfcache.settings import OPTIONS

PAGE = "# Page\n\n<!-- generated: decisions -->\nold\n<!-- /generated -->\n\nText.\n"


def test_every_generated_part_of_the_docs_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, f"{capsys.readouterr().out}run: python -m docs.generate"


@pytest.mark.parametrize("part", PARTS)
def test_every_part_stands_on_a_page(part: str) -> None:
    assert any(f"<!-- generated: {part} -->" in page.read_text("utf-8") for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_option_is_told_with_every_way_to_give_it(option: Any) -> None:
    section = PARTS["options"]().split(f"## {option.name}\n")[1].split("\n## ")[0]

    assert f"`{option.flag}" in section
    assert option.help in section
    assert (f"`{option.variable}`" in section) is option.persistent
    assert (f"`{option.dest}`" in section) is option.persistent


def test_each_rule_is_a_line_of_the_decision_table() -> None:
    lines = PARTS["decisions"]().splitlines()[2:]

    assert [line.split(" | ")[0].strip("| ") for line in lines] == [str(rule.number) for rule in TABLE]
    assert all(rule.when in line and rule.reason.value in line for rule, line in zip(TABLE, lines, strict=True))


def test_the_prose_beside_the_table_speaks_of_each_rule_by_its_number() -> None:
    prose = (DOCS / "explanation" / "decisions.md").read_text("utf-8").split("## What each rule is for")[1]
    numbers = {int(number) for bold in re.findall(r"\*\*(.+?)\.\*\*", prose) for number in re.findall(r"\d+", bold)}

    assert numbers == {rule.number for rule in TABLE}


def test_the_example_of_the_json_report_has_the_fields_of_a_real_one() -> None:
    page = (DOCS / "reference" / "json-report.md").read_text("utf-8")
    example = json.loads(page.split("```json\n")[1].split("```")[0])
    ran = TestResult("t", Outcome.PASSED, 1.0)
    real = jsonfile.document(Session({"h": Verdict(Reason.HIT)}, {"t": ran}, 1.0, 1))

    assert example.keys() == real.keys()
    assert example["version"] == jsonfile.VERSION
    assert example["summary"].keys() == real["summary"].keys()
    fields = {key for test in real["tests"].values() for key in test}
    assert all(test.keys() == fields for test in example["tests"].values())
    assert {name for name in (*real["summary"], *fields) if f"| `{name}` |" not in page} == set()


def test_only_the_generated_part_is_replaced() -> None:
    filled = fill(PAGE)

    assert "\nold\n" not in filled
    assert filled.startswith("# Page\n\n<!-- generated: decisions -->\n")
    assert filled.endswith("<!-- /generated -->\n\nText.\n")
    assert fill(filled) == filled


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- generated: nonsense -->\n<!-- /generated -->\n", "nobody generates 'nonsense'"),
        ("<!-- generated: options -->\n", "not closed"),
    ],
)
def test_a_part_that_is_unknown_or_open_is_refused(page: str, message: str) -> None:
    with pytest.raises(PageError, match=message):
        fill(page)


def test_check_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")

    assert main(["--check"], [page]) == 1
    assert page.read_text(encoding="utf-8") == PAGE
    assert main([], [page]) == 0
    assert main(["--check"], [page]) == 0
    assert "out of date" in capsys.readouterr().out


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+\.md)(?:#[\w-]+)?\)", page.read_text("utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []
