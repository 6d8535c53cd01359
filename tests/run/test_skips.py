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
    directory = tmp_path / "project"
    directory.mkdir()
    made = Project(directory)
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
