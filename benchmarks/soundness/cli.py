"""The command line of the soundness benchmark: `run`, `replay` and `summary`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.corpus import add_common_options, suites, version_of
from benchmarks.soundness.campaign import Campaign
from benchmarks.soundness.replay import History, replay
from benchmarks.soundness.summary import read_lines, summary, unsound
from benchmarks.soundness.trial import Plan
from benchmarks.tables import PAGE, put

if TYPE_CHECKING:
    from benchmarks.session import Tool

DESCRIPTION = """
run: mutate one place, run plain pytest for the truth, then each tool from its warmed state; report every
failure that was not executed. Results are appended as JSON lines; what is there already is not tried again.
replay: the same for a project's commits in order. summary: the table.
"""


def parser() -> argparse.ArgumentParser:
    """The three commands and their options."""
    top = argparse.ArgumentParser(prog="python -m benchmarks soundness", description=DESCRIPTION)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="try mutants")
    run.add_argument("--mutants", type=int, default=250, help="per suite")
    run.add_argument("--jobs", type=int, default=2, help="mutants tried at a time, each in its own copy")
    run.add_argument("--seed", type=int, default=1)
    run.add_argument("--truths", type=Path, help="results of an earlier campaign: take over plain runs and testmon's")
    again = commands.add_parser("replay", help="run a repository's commits in order")
    again.add_argument("--repo", type=Path, required=True, help="git repository of the suite's project")
    again.add_argument("--commits", type=int, default=30, help="how many of the newest first-parent commits")
    again.add_argument("--touching", default="", help="only commits that touch these paths, separated by spaces")
    again.add_argument("--revision", default="HEAD", help="the last commit")
    for command in (run, again):
        command.add_argument("--tests", default="", help="paths, separated by spaces, instead of the whole suite")
        command.add_argument("--no-testmon", action="store_true")
        command.add_argument("--no-perfcache", action="store_true", help="testmon alone")
        command.add_argument("--timeout", type=float, default=60.0, help="seconds; at least ten plain runs")
    table = commands.add_parser("summary", help="make the table from the results")
    table.add_argument("--write-docs", action="store_true", help=f"put it into {PAGE.name}")
    table.set_defaults(results=None)
    for command in (run, again):
        command.add_argument("--results", type=Path, help="JSON lines (default: in the work directory)")
    for command in (run, again, table):
        add_common_options(command)
    return top


def results_of(options: argparse.Namespace, kind: str) -> Path:
    """The file with the JSON lines of one kind, in the work directory unless one is named."""
    named: Path | None = options.results
    default: Path = options.work.resolve() / "results" / f"soundness-{kind}-py{version_of(options.python)}.jsonl"
    return named or default


def main(arguments: list[str]) -> int:
    """Run one command; the exit status is 1 when the results hold a failure that perfcache hid."""
    options = parser().parse_args(arguments)
    if options.command == "summary":
        return max(tell(options, "mutants"), tell(options, "replay"))
    results = results_of(options, "replay" if options.command == "replay" else "mutants")
    results.parent.mkdir(parents=True, exist_ok=True)
    tools: tuple[Tool, ...] = () if options.no_perfcache else ("perfcache",)
    tools += () if options.no_testmon else ("testmon",)
    plan = Plan(tuple(options.tests.split()), tools, options.timeout)
    for suite in suites(options.work.resolve(), options.python, options.suites):
        if options.command == "replay":
            paths = tuple(options.touching.split())
            history = History(options.repo.resolve(), options.revision, options.commits, paths)
            replay(suite, plan, results, history)
        else:
            Campaign(suite, plan, options.seed, options.mutants, options.jobs, results, options.truths).run()
    return int(unsound(read_lines(results)))


def tell(options: argparse.Namespace, kind: str) -> int:
    """Print the tables of one kind, put them into the page when asked to; 1 when a failure was hidden."""
    lines = read_lines(results_of(options, kind))
    if not lines:
        return 0
    text = summary(lines, version_of(options.python))
    print(text)
    if options.write_docs:
        put(PAGE, f"soundness of {kind}", text)
    return int(unsound(lines))
