"""What was read from outside the code, and how it read when it was first used."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pytest_perfcache.facts.digest import ABSENT, fingerprint
from pytest_perfcache.facts.places import Places
from pytest_perfcache.facts.surroundings import environment_fingerprint
from pytest_perfcache.trace.inputs import Inputs
from pytest_perfcache.trace.unit import Unit


class Observed:
    """Inputs of a small project; ``unit`` is the test at work. Stands for the recorder as well."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.unit = Unit("test one")
        self.inputs = Inputs(Places.of(root, scratch), {"REGION": "north"}, self)  # type: ignore[arg-type]

    @property
    def current(self) -> Unit:
        return self.unit

    @property
    def stack(self) -> tuple[Unit, ...]:
        return (self.unit,)

    def add_input(self, key: str) -> None:
        self.unit.inputs.add(key)

    def spoil(self, why: str) -> None:
        self.unit.spoil(why)

    def read(self, name: str) -> set[str]:
        self.inputs.read_file(str(self.root / name))
        return self.unit.inputs


@pytest.fixture(params=["young", "old"])
def observed(request: pytest.FixtureRequest, tmp_path: Path) -> Observed:
    root = tmp_path / "project"
    root.mkdir()
    (root / "tax.json").write_bytes(b"20")
    if request.param == "old":
        long_ago = time.time() - 1000
        os.utime(root / "tax.json", (long_ago, long_ago))
    return Observed(root, tmp_path / "scratch")


def test_a_file_is_an_input_with_its_content(observed: Observed) -> None:
    assert observed.read("tax.json") == {"file:tax.json"}
    assert observed.inputs.settle() == {"file:tax.json": fingerprint(b"20")}


def test_a_path_that_is_not_there_is_an_input_too(observed: Observed) -> None:
    assert observed.read("override.json") == {"file:override.json"}
    assert observed.inputs.settle() == {"file:override.json": ABSENT}


@pytest.mark.parametrize("content", [b"21", b"a longer one"])
def test_a_file_that_moved_after_its_first_use_says_nothing(observed: Observed, content: bytes) -> None:
    observed.read("tax.json")
    (observed.root / "tax.json").write_bytes(content)

    assert observed.inputs.settle() == {}


def test_a_path_that_appeared_after_it_was_looked_for_says_nothing(observed: Observed) -> None:
    observed.read("override.json")
    (observed.root / "override.json").touch()

    assert observed.inputs.settle() == {}


def test_a_directory_is_an_input_until_its_names_change(observed: Observed) -> None:
    observed.inputs.read_directory(str(observed.root))
    before = observed.inputs.settle()
    (observed.root / "new").touch()

    assert list(before) == ["dir:."]
    assert observed.inputs.settle() == {}


def test_what_the_test_wrote_itself_is_no_input(observed: Observed) -> None:
    observed.inputs.wrote(str(observed.root / "out.txt"))
    (observed.root / "out.txt").touch()

    assert observed.read("out.txt") == set()
    assert observed.unit.untracked == ""


def test_what_lies_in_a_directory_that_the_run_made_is_no_input(observed: Observed) -> None:
    observed.inputs.made_directory(str(observed.root / "made"))

    assert observed.read("made/deep/file") == set()
    assert observed.read("made-up") == {"file:made-up"}


def test_what_another_test_wrote_can_not_be_tracked(observed: Observed) -> None:
    observed.inputs.wrote(str(observed.root / "out.txt"))
    observed.unit = Unit("test two")

    assert observed.read("out.txt") == set()
    assert observed.unit.untracked == "reads out.txt, which test one wrote"


def test_scratch_and_libraries_are_no_inputs(observed: Observed) -> None:
    for path in ("../scratch/file", os.__file__, "/proc/self/status"):
        observed.read(path)

    assert observed.unit.inputs == set()


def test_a_variable_is_an_input_with_its_value(observed: Observed) -> None:
    observed.inputs.read_variable("REGION", "north")
    observed.inputs.read_variable("MISSING", None)

    assert observed.inputs.settle() == {"env:REGION": environment_fingerprint("north"), "env:MISSING": ABSENT}


def test_a_variable_that_the_run_itself_set_is_no_input(observed: Observed) -> None:
    observed.inputs.read_variable("REGION", "set by a fixture")

    assert observed.unit.inputs == set()


def test_the_whole_environment_is_one_input(observed: Observed) -> None:
    observed.inputs.read_environment()

    assert observed.unit.inputs == {"environ:"} == set(observed.inputs.settle())


def test_a_pattern_that_the_user_named_holds_until_a_file_of_it_changes(observed: Observed) -> None:
    observed.inputs.depend_on_glob(observed.unit, "*.json")
    before = observed.inputs.settle()
    (observed.root / "tax.json").write_bytes(b"different")

    assert list(before) == ["glob:*.json"]
    assert observed.inputs.settle() == {}


def test_two_tests_that_read_one_file_share_its_first_fingerprint(observed: Observed) -> None:
    observed.read("tax.json")
    observed.unit = Unit("test two")
    observed.read("tax.json")

    assert observed.unit.inputs == {"file:tax.json"}
    assert len(observed.inputs.settle()) == 1


def test_a_path_that_is_only_looked_at_is_an_input_by_what_stat_tells(observed: Observed) -> None:
    observed.inputs.looked_at(str(observed.root / "tax.json"))
    before = observed.inputs.settle()
    (observed.root / "tax.json").write_bytes(b"longer than before")

    assert list(before) == ["stat:tax.json"]
    assert observed.inputs.settle() == {}
