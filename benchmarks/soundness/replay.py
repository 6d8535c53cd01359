"""Replaying a project's commits in order, each tool keeping its memory from commit to commit."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING

from benchmarks.session import Checkout, Run, Tool
from benchmarks.soundness.judge import CRASHED, FAILING, judge, passing
from benchmarks.soundness.trial import Plan, remember, restore, run_once

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.corpus import Suite


def git(tree: Path, *arguments: str) -> str:
    """Run git in a directory and return what it prints."""
    done = subprocess.run(["git", "-C", str(tree), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def replay(suite: Suite, plan: Plan, results: Path, *, repository: Path, revision: str, count: int) -> None:
    """Run the last `count` first-parent commits, oldest first, and append one JSON line for each."""
    tree = suite.home / "copies" / "replay"
    checkout = Checkout(suite.spec, tree, suite.python)
    for path in (tree, checkout.scratch):
        shutil.rmtree(path, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(repository), str(tree)], check=True)
    commits = git(repository, "rev-list", "--first-parent", f"--max-count={count}", revision).split()
    for number, commit in enumerate(reversed(commits)):
        git(tree, "checkout", "--quiet", "--force", commit)
        checkout.verify_import()
        truth = kept(checkout, "plain", plan)
        runs = {tool: kept(checkout, tool, plan) for tool in plan.tools}
        for tool in [tool for tool, run in runs.items() if run.returncode == CRASHED]:
            print(f"{commit[:10]}: {tool} crashed and is left out", flush=True)
            del runs[tool]
        failing = frozenset(name for name, outcome in truth.outcomes.items() if outcome in FAILING)
        failing |= {name for run in runs.values() for name in run.outcomes if name not in truth.outcomes}
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
            "tools": {tool: asdict(judge(failing, passing(truth), run)) for tool, run in runs.items()},
        }
        with results.open("a") as sink:
            sink.write(json.dumps(line) + "\n")
        executed = {tool: len(run.executed) for tool, run in runs.items()}
        print(f"{commit[:10]} {line['text']}: {len(truth.outcomes)} tests, executed {executed}", flush=True)


def kept(checkout: Checkout, tool: Tool, plan: Plan) -> Run:
    """Run a tool from its state after the last commit, and keep its state for the next."""
    checkout.forget()
    restore(checkout, tool)
    run = run_once(checkout, tool, plan.arguments, None)
    if tool != "plain":
        remember(checkout, tool)
    return run
