"""Which commits a replay takes, and where it goes on."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.soundness.replay import History, finished, git
from benchmarks.soundness.summary import Line
from benchmarks.soundness.trial import Plan

PLAN = Plan((), ("perfcache",), 60.0)


def commit(repository: Path, name: str) -> str:
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text(name)
    git(repository, "add", name)
    git(repository, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", name)
    return git(repository, "rev-parse", "HEAD")


def test_the_newest_commits_that_touch_the_paths_are_taken_oldest_first(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    first, second, _readme, third = (commit(tmp_path, name) for name in ("src/a", "src/b", "readme", "src/c"))

    assert History(tmp_path, "HEAD", 2, ("src",)).commits() == [second, third]
    assert History(tmp_path, "HEAD", 9).commits()[0] == first


def test_a_replay_goes_on_after_the_commits_that_are_in_the_results() -> None:
    lines: list[Line] = [{"suite": "shop", "tests_run": [], "path": path} for path in ("a", "b", "d")]

    assert finished(lines, "shop", PLAN, ["a", "b", "c", "d"]) == 2
    assert finished(lines, "cart", PLAN, ["a", "b"]) == 0
