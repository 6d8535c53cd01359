"""What belongs to the project, and how its paths are written."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path

import pytest

from pytest_perfcache.facts.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    return Places.of(root, tmp_path / "scratch")


def test_paths_inside_are_relative_to_the_root(places: Places) -> None:
    assert places.relative(str(places.root / "src" / "cart.py")) == "src/cart.py"
    assert places.relative(str(places.root / "src" / ".." / "a.py")) == "a.py"
    assert places.relative(str(places.root)) == "."


def test_paths_outside_are_absolute(places: Places) -> None:
    assert places.relative(f"{places.root}-other/a.py") == f"{places.root}-other/a.py"


def test_a_root_reached_through_a_link_is_the_same_root(places: Places, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(places.root)

    assert Places.of(link).root == places.root
    assert places.relative(str(link / "src" / "cart.py")) == "src/cart.py"


def test_a_link_inside_the_project_stays_what_it_is(places: Places) -> None:
    (places.root / "data").symlink_to("src")

    assert places.relative(str(places.root / "data" / "x.json")) == "data/x.json"


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("src/cart.py", True),
        ("tests/conftest.py", True),
        ("site-packages/attr/__init__.py", False),
        (".tox/py311/lib/x.py", False),
        ("node_modules/gyp/x.py", False),
        ("env/lib/x.py", False),
        ("environment.py", True),
        ("../elsewhere.py", False),
    ],
)
def test_only_code_that_people_of_the_project_wrote_is_the_projects(places: Places, path: str, own: bool) -> None:
    (places.root / "env").mkdir()
    (places.root / "env" / "pyvenv.cfg").touch()

    assert places.is_project(str(places.root / path)) is own


def test_the_interpreters_own_files_are_no_project() -> None:
    places = Places.of(Path(json.__file__).parent)

    assert not places.is_project(json.__file__)
    assert places.is_library(json.__file__)
    assert places.is_library(str(Path(sys.prefix, "lib", "anything")))


def test_what_the_run_makes_itself_is_scratch(places: Places, tmp_path: Path) -> None:
    assert places.is_scratch(str(tmp_path / "scratch" / "file"))
    assert places.is_scratch("/proc/self/status")
    assert not places.is_scratch(str(tmp_path / "scratch.txt"))


@pytest.mark.parametrize("name", ["stdlib", "platstdlib", "purelib", "platlib"])
def test_all_places_of_this_python_hold_libraries(name: str) -> None:
    assert Places.of(Path("/")).is_library(os.path.join(sysconfig.get_path(name), "anything.py"))
