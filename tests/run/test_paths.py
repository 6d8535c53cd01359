"""Paths that tests look at while others take away or write what lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.projects import Project

TAKEN_AWAY = """\
import os

def test_with_a_link():
    os.symlink("{there}/one", "{there}/link")
    assert os.path.exists("{there}/link/x")
    {take_away}

def test_without():
    assert not os.path.exists("{there}/link/x")
"""
WRITTEN = """\
import os

def test_before():
    assert not os.path.exists("{there}/one/y")

def test_writes():
    open("{there}/one/y", "w").close()

def test_after():
    assert os.path.exists("{there}/one/y")
    os.remove("{there}/one/y")
"""


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A directory beside the project."""
    (tmp_path / "there" / "one").mkdir(parents=True)
    (tmp_path / "there" / "one" / "x").touch()
    return tmp_path / "there"


@pytest.mark.parametrize(
    "take_away",
    [
        'os.remove("{there}/link")',
        'os.unlink("link", dir_fd=os.open("{there}", os.O_RDONLY))',
        'os.rename("{there}/link", "{there}/link-of-old")',
    ],
)
def test_what_lies_behind_a_link_is_not_what_lies_there_without(tmp_path: Path, there: Path, take_away: str) -> None:
    project = Project(tmp_path / "project")
    project.write(test_a=TAKEN_AWAY.format(there=there, take_away=take_away.format(there=there)))
    project.run()
    (there / "link-of-old").unlink(missing_ok=True)
    cached = project.run()
    (there / "link").mkdir()
    (there / "link" / "x").touch()

    assert "test_a.py::test_without" not in cached.ran
    assert "test_a.py::test_without" in project.run().ran


def test_what_one_test_looked_for_and_another_wrote_is_no_input_of_a_third(tmp_path: Path, there: Path) -> None:
    project = Project(tmp_path / "project")
    project.write(test_a=WRITTEN.format(there=there))
    project.run()

    assert "which test test_a.py::test_writes wrote" in project.run("--perfcache-explain").output
