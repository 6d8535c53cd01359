"""A run in which nothing will have to run is not observed; what runs all the same is recorded by the next run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.run.test_light_modules import Project

WATCHER = """\
import sys
from pathlib import Path

MODE = Path(__file__).with_name("flag").exists()  # before anything is observed

def pytest_configure(config):
    config.option.mode = MODE

def pytest_report_header():
    return "observed: " + str("pytest_perfcache.trace.tracing" in sys.modules)
"""
INI = "[pytest]\npythonpath = .\nmarkers =\n  slow\n  owner(name)\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    site = tmp_path / "site"
    site.mkdir()
    (site / "watcher.py").write_text(WATCHER)
    monkeypatch.setattr("tests.run.test_light_modules.ROOT", f"{site}:{Path(__file__).parents[2]}")
    return Project.below(tmp_path)


def run(project: Project, *args: str) -> tuple[bool, str]:
    """Whether the run was observed, and its last line."""
    done = project.run("-p", "watcher", *args)
    return "observed: True" in done.output, done.last


def settle(project: Project, *args: str) -> None:
    assert not all(run(project, *args)[0] for _ in range(3))


def test_the_run_after_one_in_which_nothing_ran_is_not_observed(project: Project) -> None:
    assert run(project) == (True, "4 passed")
    assert run(project) == (True, "4 cached")
    assert run(project) == (False, "4 cached")
    assert run(project) == (False, "4 cached")


def test_another_request_is_observed_until_nothing_ran_in_it(project: Project) -> None:
    settle(project)

    assert run(project, "-k", "cart") == (True, "1 deselected, 3 cached")
    assert run(project, "-k", "cart") == (False, "1 deselected, 3 cached")
    assert run(project) == (False, "4 cached")


@pytest.mark.parametrize(
    ("name", "text", "first", "second"),
    [
        ("shop.py", "def price():\n    return 2 - 1\n", "1 passed, 3 cached", "4 cached"),
        ("tests/test_new.py", "def test_new(): pass\n", "1 passed, 4 cached", "5 cached"),
        ("tests/conftest.py", "", "4 passed", "4 cached"),
        (
            "pytest.ini",
            "[pytest]\npythonpath = .\nmarkers =\n  slow\n  owner(name)\nusefixtures = tmp_path\n",
            "4 passed",
            "4 cached",
        ),
    ],
    ids=["a function", "a new test file", "a new conftest file", "the ini file"],
)
def test_what_changed_is_observed_and_recorded_at_once(
    project: Project, name: str, text: str, first: str, second: str
) -> None:
    settle(project)
    project.write(name, text)

    assert run(project) == (True, first)
    assert run(project) == (True, second)
    assert run(project)[0] is False


def test_a_module_without_known_tests_is_looked_at_again_when_it_changed(project: Project) -> None:
    project.write("tests/test_empty.py", "")
    settle(project)
    assert run(project) == (False, "4 cached")

    project.write("tests/test_empty.py", "def test_now(): pass\n")
    assert run(project) == (True, "1 passed, 4 cached")


def test_what_nobody_could_foresee_runs_and_is_recorded_by_the_next_run(project: Project) -> None:
    settle(project)
    (project.path.parent / "site/flag").touch()

    assert run(project) == (False, "4 passed")
    assert run(project) == (True, "4 passed")
    assert run(project) == (True, "4 cached")
    assert run(project) == (False, "4 cached")


def test_a_failing_test_is_always_observed(project: Project) -> None:
    project.write("tests/test_bad.py", "def test_bad(): assert False\n")

    assert [run(project) for _ in range(3)][1:] == [(True, "1 failed, 4 cached")] * 2


@pytest.mark.parametrize("option", ["--perfcache-verify=0.0001%", "--lf", "--doctest-modules"])
def test_a_request_that_may_let_tests_run_though_nothing_changed_is_always_observed(
    project: Project, option: str
) -> None:
    args = (option, "-p", "cacheprovider")

    assert [run(project, *args)[0] for _ in range(4)] == [True] * 4


@pytest.mark.parametrize("found", [b"", b"[]", b'{"x": 1}', b'{"x": [{}, "zz", "", ""]}'])
def test_a_damaged_memory_of_quiet_runs_is_as_good_as_none(project: Project, found: bytes) -> None:
    settle(project)
    (file,) = project.path.glob(".perfcache/**/*.db")
    with sqlite3.connect(file) as database:
        changed = database.execute("UPDATE Cache SET value = ? WHERE key = 'quiet'", (found,)).rowcount
    assert changed == 1

    assert run(project) == (True, "4 cached")
    assert run(project) == (False, "4 cached")
