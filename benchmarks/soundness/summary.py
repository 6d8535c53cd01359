"""The table of the soundness benchmark, from its JSON lines (pure but for reading them)."""

from __future__ import annotations

import json
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.tables import percent, table

if TYPE_CHECKING:
    from pathlib import Path

Line = dict[str, Any]
HEADER = (
    "suite",
    "tool",
    "changes",
    "that fail a test",
    "with a failure not executed",
    "failures not executed",
    "failures spilled",
    "executed but passed",
    "told as passed, now skipped or gone",
    "not collected but pass",
    "tests executed, mean",
    "same, where testmon misses nothing",
)


def read_lines(path: Path) -> list[Line]:
    """All results written so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def unsound(lines: list[Line]) -> bool:
    """Whether the cache hid any failure."""
    return any(line.get("tools", {}).get("perfcache", {}).get("missed") for line in lines)


def executed_share(lines: list[Line], tool: str) -> str:
    """The mean share of the tests that a tool executed."""
    shares = [line["tools"][tool]["executed"] / max(1, line["tests"]) for line in lines]
    return percent(fmean(shares)) if shares else "-"


def broken(lines: list[Line], tool: str) -> str:
    """How many passing tests a tool could not collect; `-` where some of the results do not tell."""
    told = [line["tools"][tool].get("broken") for line in lines]
    return "-" if None in told else str(sum(len(names) for names in told if names is not None))


def row(name: str, tool: str, lines: list[Line]) -> tuple[str, ...]:
    """One tool on one suite."""
    mine = [line for line in lines if tool in line.get("tools", {})]
    missed = [len(line["tools"][tool]["missed"]) for line in mine]
    hidden = [len(line["tools"][tool]["hidden"]) for line in mine]
    fair = [line for line in mine if "testmon" in line["tools"] and not line["tools"]["testmon"]["missed"]]
    return (
        name,
        tool,
        str(len(mine)),
        str(sum(line["changed"] > 0 for line in mine)),
        str(sum(count > 0 for count in missed)),
        str(sum(missed)),
        str(sum(len(line["tools"][tool]["spilled"]) for line in mine)),
        str(sum(hidden)),
        str(sum(len(line["tools"][tool]["stale"]) for line in mine)),
        broken(mine, tool),
        executed_share(mine, tool),
        executed_share(fair, tool),
    )


def summary(lines: list[Line], python: str) -> str:
    """The tables by suite and by kind, and every failure that perfcache did not execute."""
    finished = [line for line in lines if line["status"] in {"changed", "same"}]
    tools = sorted({tool for line in finished for tool in line["tools"]})
    names = sorted({line["suite"] for line in finished})
    kinds = sorted({line["kind"] for line in finished})
    groups = [(name, [line for line in finished if line["suite"] == name]) for name in names]
    groups.append(("all", finished))
    parts = [(f"{kind}", [line for line in finished if line["kind"] == kind]) for kind in kinds]
    hanging = len(lines) - len(finished)
    text = [f"Python {python}; {hanging} changes made the suite hang and are left out.", ""]
    text += [table(HEADER, (row(name, tool, group) for name, group in groups for tool in tools)), ""]
    if len(kinds) > 1:
        text.append(table(("kind", *HEADER[1:]), (row(name, tool, group) for name, group in parts for tool in tools)))
    return "\n".join(text + misses(finished))


def misses(lines: list[Line]) -> list[str]:
    """One line for each change of which perfcache missed a failure."""
    return [
        f"\nMissed: {line['suite']} {line['path']}:{line['line']} ({line['kind']}, "
        f"`{line['text'].strip()}`): " + ", ".join(line["tools"]["perfcache"]["missed"][:5])
        for line in lines
        if line["tools"].get("perfcache", {}).get("missed")
    ]
