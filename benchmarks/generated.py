"""Suites of any size that differ in nothing but their number of tests."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.corpus import COMMON, Suite, pip
from benchmarks.specs import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS_PER_FILE = 50
FUNCTIONS = 10
PYPROJECT = """\
[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["src"]
"""
CONFTEST = """\
import pytest


@pytest.fixture(scope="session")
def scale():
    from generated.core import clamp

    return clamp(3)
"""
CORE = """\
LIMIT = 1000000


def clamp(value):
    return min(value, LIMIT)


def total(values):
    return clamp(sum(values))
"""


def generated(work: Path, python: str, version: str, tests: int) -> Suite:
    """Write a suite of at least `tests` tests into the work directory; all such share an environment."""
    home = work / f"py{version}" / f"generated-{tests}"
    spec = Spec(f"generated-{tests}", "1", ("src/generated",))
    suite = Suite(spec, home)
    environment = home.with_name("generated") / "venv"
    if not environment.exists():
        subprocess.run([python, "-m", "venv", str(environment)], check=True)
        pip(environment / "bin" / "python", "install", "--quiet", *COMMON, f"pytest=={spec.pytest}")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "venv").symlink_to(environment)
    write(suite.tree, tests)
    return suite


def write(tree: Path, tests: int) -> None:
    """Write package and tests: a module for each test file, functions of five tests each, one core."""
    package, folder = tree / "src" / "generated", tree / "tests"
    package.mkdir(parents=True)
    folder.mkdir()
    (tree / "pyproject.toml").write_text(PYPROJECT)
    (folder / "conftest.py").write_text(CONFTEST)
    (package / "__init__.py").write_text("")
    (package / "core.py").write_text(CORE)
    for number in range(-(-tests // TESTS_PER_FILE)):
        (package / f"part{number:04}.py").write_text(part())
        (folder / f"test_part{number:04}.py").write_text(test_file(number))


@contextmanager
def small_project(tests: int) -> Iterator[Path]:
    """Such a suite for as long as the block lasts, with a directory `empty` that holds no tests."""
    with TemporaryDirectory() as directory:
        project = Path(directory, "project")
        write(project, tests)
        (project / "empty").mkdir()
        yield project


def part() -> str:
    """A module of the package under test."""
    functions = (
        f"def compute{index}(value):\n"
        f"    values = []\n"
        f"    for step in range(value):\n"
        f"        values.append(step * FACTOR + {index})\n"
        f"    return total(values)\n"
        for index in range(FUNCTIONS)
    )
    return "from generated.core import total\n\nFACTOR = 2\n\n\n" + "\n\n".join(functions)


def test_file(number: int) -> str:
    """A test module: plain tests, every tenth with the shared fixture."""
    lines = [f"from generated import part{number:04} as part", ""]
    for index in range(TESTS_PER_FILE):
        name, fixture = f"compute{index % FUNCTIONS}", "scale" if index % 10 == 0 else ""
        expected = sum(step * 2 + index % FUNCTIONS for step in range(index))
        lines += ["", f"def test_{index}({fixture}):", f"    assert part.{name}({index}) == {expected}", ""]
    return "\n".join(lines)
