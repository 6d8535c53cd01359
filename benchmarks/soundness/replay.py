"""Replaying a project's commits in order, each tool keeping its memory from commit to commit."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from benchmarks.session import Checkout, Run, Tool
from benchmarks.soundness.judge import CRASHED, FAILING, judge, passing
from benchmarks.soundness.summary import Line, read_lines
from benchmarks.soundness.trial import Plan, alone, remember, restore, run_once

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.corpus import Suite


def git(tree: Path, *arguments: str) -> str:
    """Run git in a directory and return what it prints."""
    done = subprocess.run(["git", "-C", str(tree), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class History:
    """The last `count` first-parent commits up to `revision`, only those that touch `paths` when any are named."""

    repository: Path
    revision: str
    count: int
    paths: tuple[str, ...] = ()

    def commits(self) -> list[str]:
        """Their hashes, oldest first."""
        options = ("--first-parent", f"--max-count={self.count}")
        return git(self.repository, "rev-list", *options, self.revision, "--", *self.paths).split()[::-1]


def replay(suite: Suite, plan: Plan, results: Path, history: History) -> None:
    """Run the commits in order and append one JSON line for each; go on after those that are in the results."""
    tree = suite.home / "copies" / "replay"
    checkout = Checkout(suite.spec, tree, suite.python)
    commits = history.commits()
    done = finished(read_lines(results), suite.spec.name, plan, commits)
    if not done:
        for path in (tree, checkout.scratch):
            shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(history.repository), str(tree)], check=True)
    for number, commit in list(enumerate(commits))[done:]:
        git(tree, "checkout", "--quiet", "--force", commit)
        checkout.verify_import()
        truth = kept(checkout, "plain", plan)
        runs = {tool: kept(checkout, tool, plan) for tool in plan.tools}
        for tool in [tool for tool, run in runs.items() if run.returncode == CRASHED]:
            print(f"{commit[:10]}: {tool} crashed and is left out", flush=True)
            del runs[tool]
        failing = frozenset(name for name, outcome in truth.outcomes.items() if outcome in FAILING)
        failing |= {name for run in runs.values() for name in run.outcomes if name not in truth.outcomes}
        judged = {tool: judge(failing, passing(truth), run) for tool, run in runs.items()}
        line = {
            "suite": suite.spec.name,
            "seed": 0,
            "number": number,
            "tests_run": list(plan.arguments),
            "path": commit,
            "line": 0,
            "kind": "commit",
            "text": git(tree, "log", "-1", "--format=%s"),
            "status": "changed" if failing else "same",
            "tests": len(truth.outcomes),
            "changed": len(failing),
            "plain_seconds": round(truth.seconds, 3),
            "tools": {tool: asdict(alone(checkout, plan, found)) for tool, found in judged.items()},
        }
        with results.open("a") as sink:
            sink.write(json.dumps(line) + "\n")
        executed = {tool: len(run.executed) for tool, run in runs.items()}
        print(f"{commit[:10]} {line['text']}: {len(truth.outcomes)} tests, executed {executed}", flush=True)


def finished(lines: list[Line], name: str, plan: Plan, commits: list[str]) -> int:
    """How many of the commits, from the first on, are in the results of this suite and these tests."""
    known = {line["path"] for line in lines if (line["suite"], line["tests_run"]) == (name, list(plan.arguments))}
    return len(list(takewhile(known.__contains__, commits)))


def kept(checkout: Checkout, tool: Tool, plan: Plan) -> Run:
    """Run a tool from its state after the last commit, and keep its state for the next."""
    checkout.forget()
    restore(checkout, tool)
    run = run_once(checkout, tool, plan.arguments, None)
    if tool != "plain":
        remember(checkout, tool)
    return run
