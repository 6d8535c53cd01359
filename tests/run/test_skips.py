"""Skips and expected failures are told again without a run, in every way that pytest tells them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.run.test_light_modules import NOTE_IMPORT, Project

SKIPS = f"""\
{NOTE_IMPORT}
import pytest

@pytest.mark.skip(reason="never")
def test_never(): pass

@pytest.mark.xfail(reason="known")
def test_known(): assert False

def test_body(): pytest.skip("not today")

@pytest.mark.skip(reason="the class")
class TestClass:
    def test_one(self): pass
    def test_two(self): pass

def test_plain(): pass
"""
TIMES = re.compile(r'time(stamp)?="[^"]*"')


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.below(tmp_path)
    made.write("tests/test_skips.py", SKIPS)
    first = made.run()
    assert first.last == "5 passed, 4 skipped, 1 xfailed", first.output
    return made


def summary(output: str) -> list[str]:
    """The lines of the short summary that say what was skipped."""
    return sorted(line for line in output.splitlines() if line.startswith(("SKIPPED", "XFAIL")))


@pytest.mark.parametrize("args", [(), ("-n2",)])
def test_their_module_is_not_imported_and_each_is_told_as_it_was(project: Project, args: tuple[str, ...]) -> None:
    plain, again = project.run("-rsx", "--no-perfcache"), project.run("-rsx", *args)

    assert (again.imported, again.last) == ([], "4 skipped, 1 xfailed, 5 cached")
    assert summary(again.output) == summary(plain.output)
    assert "hit rate 100 % (10 of 10)" in again.output


@pytest.mark.parametrize("args", [("-v",), ("-q",), ("-rA", "-k", "never or known")])
def test_nothing_is_told_otherwise_in_other_views(project: Project, args: tuple[str, ...]) -> None:
    plain, again = project.run(*args, "--no-perfcache"), project.run(*args)

    assert again.imported == []
    assert summary(again.output) == summary(plain.output)


def test_junit_xml_is_the_same(project: Project) -> None:
    plain, again = project.path / "plain.xml", project.path / "again.xml"
    project.run(f"--junitxml={plain}", "--no-perfcache")

    assert project.run(f"--junitxml={again}").imported == []
    assert TIMES.sub("", again.read_text()) == TIMES.sub("", plain.read_text())


def test_a_hook_sees_the_reports_of_skips(project: Project) -> None:
    project.write(
        "conftest.py",
        "def pytest_runtest_logreport(report):\n"
        "    if report.skipped: print('hook:', report.nodeid, report.when, getattr(report, 'wasxfail', ''))\n",
    )
    plain = project.run("-s")
    again = project.run("-s")

    def heard(output: str) -> list[str]:
        return sorted(re.findall(r"hook:.*", output))

    assert len(heard(plain.output)) == 5
    assert heard(again.output) == heard(plain.output)
    assert "test_skips" not in again.imported


def test_another_machine_skips_for_itself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    place = project.path.parent / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        f"import platform\nname = open({str(place / 'name')!r}).read()\nplatform.node = lambda: name\n"
    )
    monkeypatch.setattr("tests.run.test_light_modules.ROOT", f"{place}:{Path(__file__).parents[2]}")
    (place / "name").write_text("one")
    project.run()
    assert project.run().imported == []

    (place / "name").write_text("another")
    there = project.run("--perfcache-explain")
    assert there.last == "4 skipped, 1 xfailed, 5 cached"
    assert there.imported == ["test_skips"]
    assert "run tests/test_skips.py::test_never: changed: machine:host and boot changed" in there.output
    assert "hit tests/test_skips.py::test_plain: unchanged" in there.output


def test_verification_expects_the_skip(project: Project) -> None:
    verified = project.run("--perfcache-verify=100%")

    assert (verified.code, verified.last) == (0, "5 passed, 4 skipped, 1 xfailed")
    assert "10 hits verified" in verified.output


MARKING = """\
import pytest

def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true")

def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs --slow"))
"""
SLOW = f"""\
{NOTE_IMPORT}
import pytest

@pytest.mark.slow
def test_slow(): pass

def test_quick(): pass
"""


@pytest.fixture
def marking(tmp_path: Path) -> Project:
    """A project whose conftest file marks tests as skipped, once they are collected."""
    made = Project.below(tmp_path)
    for name in ("cart", "other"):
        (made.path / f"tests/test_{name}.py").unlink()
    made.write("conftest.py", MARKING)
    made.write("tests/test_slow.py", SLOW)
    return made


def test_a_skip_by_a_mark_of_a_hook_is_told_again_where_the_hook_gives_it_again(marking: Project) -> None:
    first, again = marking.run("-rs"), marking.run("-rs")

    assert first.last == "1 passed, 1 skipped"
    assert (again.imported, again.last) == ([], "1 skipped, 1 cached")
    assert summary(again.output) == summary(first.output) != []
    assert marking.run("--slow").last == "2 passed"
    assert marking.run("--slow").last == "2 cached"
    assert marking.run().last == "1 skipped, 1 cached"


def test_what_such_a_hook_marks_otherwise_runs(marking: Project) -> None:
    hook = "import pytest\ndef pytest_collection_modifyitems(items):\n    items[-1].add_marker(pytest.mark.skip)\n"
    marking.write("conftest.py", hook)
    marking.write("tests/test_further.py", "def test_further(): pass\n")
    assert marking.run().last == "2 passed, 1 skipped"
    assert marking.run().last == "1 skipped, 2 cached"

    marking.write("tests/test_very_last.py", "def test_last(): pass\n")
    changed = marking.run("--perfcache-explain")
    assert changed.last == "1 passed, 1 skipped, 2 cached", changed.output
    assert "run tests/test_slow.py::test_quick: not a clean pass last time: the marks" in changed.output
    assert marking.run().last == "1 skipped, 3 cached"


def test_a_mark_with_arguments_that_cannot_be_kept_runs_each_time(marking: Project) -> None:
    hook = MARKING.replace("skip(reason", "xfail(raises=ValueError, reason")
    marking.write("conftest.py", hook)
    marking.write("tests/test_slow.py", SLOW.replace("slow(): pass", "slow(): raise ValueError"))
    assert marking.run().last == "1 passed, 1 xfailed"
    assert marking.run().imported == ["test_slow"]


def test_workers_follow_the_marks_that_hooks_give_to_each(marking: Project) -> None:
    marking.run()

    beside = marking.run("-n2")
    assert beside.last == "1 skipped, 1 cached"
    assert beside.imported == ["test_slow"]
    assert marking.run().last == "1 skipped, 1 cached"


WHOLE = f"""\
{NOTE_IMPORT}
import pytest
import helper
if helper.needs_device():
    pytest.skip("needs a device", allow_module_level=True)

def test_device(): pass
"""


@pytest.fixture
def skipping(tmp_path: Path) -> Project:
    """A project with modules that skip themselves: by what a helper says, and for what is not there."""
    made = Project.below(tmp_path)
    made.write("helper.py", "import os\ndef needs_device():\n    return not os.path.exists('device')\n")
    made.write("tests/test_device.py", WHOLE)
    made.write(
        "tests/test_absent.py",
        f"{NOTE_IMPORT}\nimport pytest\nlater = pytest.importorskip('later')\n\ndef test(): pass\n",
    )
    return made


@pytest.mark.parametrize("args", [(), ("-v",), ("-n2",)])
def test_a_module_that_skips_itself_is_not_imported_again(skipping: Project, args: tuple[str, ...]) -> None:
    plain = skipping.run("-rs", "--no-perfcache")
    assert skipping.run("-rs").last == "4 passed, 2 skipped"

    again = skipping.run("-rs", *args)
    assert (again.imported, again.last) == ([], "2 skipped, 4 cached")
    assert len(summary(again.output)) == 2
    assert summary(again.output) == summary(plain.output)


def test_workers_remember_that_a_module_skips_itself(skipping: Project) -> None:
    skipping.run("-n2")

    assert skipping.run().imported == []


@pytest.mark.parametrize(
    ("name", "text", "last"),
    [
        ("helper.py", "def needs_device():\n    return False\n", "1 passed, 1 skipped, 4 cached"),
        ("device", "", "1 passed, 1 skipped, 4 cached"),
        ("later.py", "", "1 passed, 1 skipped, 4 cached"),
        ("tests/test_absent.py", "def test(): pass\n", "1 passed, 1 skipped, 4 cached"),
    ],
)
def test_a_module_that_may_no_longer_skip_itself_is_imported(
    skipping: Project, name: str, text: str, last: str
) -> None:
    skipping.run()
    assert skipping.run().imported == []

    skipping.write(name, text)
    assert skipping.run().last == last
