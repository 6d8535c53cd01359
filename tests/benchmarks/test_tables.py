"""Tables go between their markers and leave the rest of a page alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables import put, table


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n")

    put(page, "a", "new")

    assert page.read_text() == "before\n<!-- a: begin -->\nnew\n<!-- a: end -->\nafter\n"


def test_a_page_without_the_markers_gets_them(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.md"

    put(page, "a", "one")
    put(page, "b", "two")
    put(page, "a", "three")

    assert page.read_text().split("\n\n")[1:] == [
        "<!-- a: begin -->\nthree\n<!-- a: end -->",
        "<!-- b: begin -->\ntwo\n<!-- b: end -->\n",
    ]


def test_a_table_has_its_rule_under_its_header() -> None:
    assert table(("suite", "tests"), [("attrs", "3")]) == "| suite | tests |\n| --- | ---: |\n| attrs | 3 |"
