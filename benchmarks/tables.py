"""Markdown tables, and putting them between markers into a page of the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "explanation" / "benchmarks.md"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; all columns but the first are aligned to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def put(page: Path, name: str, content: str) -> None:
    """Replace what stands between the markers `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

    A page without the markers gets them at its end.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page.parent.mkdir(parents=True, exist_ok=True)
    text = page.read_text() if page.exists() else "# Benchmarks\n"
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    head, rest = text.split(begin, maxsplit=1)
    tail = rest.split(end, maxsplit=1)[1]
    page.write_text(f"{head}{begin}\n{content.strip()}\n{end}{tail}")


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"
