"""Hooks that look at the list of all tests see it, though no module is imported and pytest itself saw none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.test_light_modules import NOTE_IMPORT, Project

PLAIN = ("-p", "no:perfcache", "-p", "no:pytest_perfcache.plugin")
TELL = """\
import pytest

def pytest_collection_modifyitems(session, items):
    for item in items:
        print("SEEN", item.nodeid, item in session.items, [mark.name for mark in item.iter_markers()],
              "slow" in item.keywords, item.user_properties, item.fixturenames, len(item.stash))
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Four modules with a test that is marked in each, two of them in a class."""
    made = Project.below(tmp_path)
    for name in ("cart", "other"):
        (made.path / f"tests/test_{name}.py").unlink()
    slow = "@pytest.mark.slow\ndef test_slow(): pass\n"
    for name in ("one", "two", "three", "four"):
        made.write(f"tests/test_{name}.py", f"{NOTE_IMPORT}import pytest\ndef test_{name}(): pass\n{slow}")
    made.write(
        "tests/test_two.py", f"{NOTE_IMPORT}class TestTwo:\n    def test_a(self): pass\n    def test_b(self): pass\n"
    )
    return made


def seen(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("SEEN")]


def counted(output: str) -> list[str]:
    """What was said of the number of tests."""
    return [line for line in output.splitlines() if line.startswith("collected")]


def test_a_hook_sees_all_tests_in_pytests_order(project: Project) -> None:
    project.write("conftest.py", TELL)
    plain, recorded, again = project.run("-s", *PLAIN), project.run("-s"), project.run("-s")
    assert seen(plain.output) == seen(recorded.output) == seen(again.output)
    assert len(seen(plain.output)) == 8
    assert (again.imported, again.last) == ([], "8 cached")
    assert counted(again.output) == counted(plain.output) == ["collected 8 items"]


def test_the_order_is_pytests_where_some_modules_are_imported(project: Project) -> None:
    project.write("conftest.py", TELL)
    project.run("-s")
    two = project.path / "tests/test_two.py"
    two.write_text(two.read_text().replace("def test_b(self): pass", "def test_b(self): assert True"))
    plain, light = project.run("-s", *PLAIN), project.run("-s")
    assert seen(light.output) == seen(plain.output)
    assert (light.imported, light.last) == (["test_two"], "1 passed, 7 cached")


@pytest.mark.parametrize(
    ("hook", "last"),
    [
        ("items.reverse()", "8 cached"),
        ("session.stash.setdefault(KEPT, []).extend(items)", "8 cached"),
        ("items[0].name = 'renamed'; items[1]._nodeid = 'other'", "8 cached"),
        ("items[0].user_properties.append(('a', 1)); items[0].stash[KEPT] = []", "8 cached"),
        ("[item.add_marker('seen') for item in items]", "8 cached"),
        ("items[3].own_markers = [pytest.mark.owner('ann').mark]", "8 cached"),
    ],
)
def test_what_a_hook_does_to_the_list_is_done(project: Project, hook: str, last: str) -> None:
    head = "import pytest\nKEPT = pytest.StashKey()\n"
    project.write("conftest.py", f"{head}def pytest_collection_modifyitems(session, items):\n    {hook}\n")
    plain = project.run("-W", "ignore", *PLAIN)
    project.run("-W", "ignore")
    again = project.run("-W", "ignore")
    assert (again.code, again.imported, again.last) == (0, [], last)
    assert plain.last == last.replace("cached", "passed")


@pytest.mark.parametrize(
    ("hook", "last"),
    [
        ("items.append(items[0])", "9 cached"),
        ("items[:] = map(copy.copy, items)", "8 cached"),
        ("items[1:] = items[2:]", "7 cached"),
    ],
)
def test_a_list_that_is_another_one_is_told_as_it_is(project: Project, hook: str, last: str) -> None:
    condition = "if 'Light' in type(items[0]).__name__:"
    head = "import copy\ndef pytest_collection_modifyitems(items):\n"
    project.write("conftest.py", f"{head}    {condition} {hook}\n")
    project.run()
    again = project.run()
    assert (again.code, again.imported, again.last) == (0, [], last)


def test_tests_that_a_hook_takes_away_are_counted_as_deselected(project: Project) -> None:
    project.write(
        "conftest.py",
        "def pytest_collection_modifyitems(config, items):\n"
        "    gone = [item for item in items if 'slow' in item.keywords]\n"
        "    config.hook.pytest_deselected(items=gone)\n"
        "    items[:] = [item for item in items if item not in gone]\n",
    )
    plain = project.run(*PLAIN)
    project.run()
    again = project.run()
    assert again.last == "3 deselected, 5 cached"
    assert counted(again.output) == counted(plain.output) == ["collected 8 items / 3 deselected / 5 selected"]


def test_a_mark_that_decides_how_the_test_ends_lets_it_run(project: Project) -> None:
    head = f"{NOTE_IMPORT}import pytest\ndef pytest_collection_modifyitems(items):\n"
    project.write("conftest.py", f"{head}    items[len(items) - 3].add_marker(pytest.mark.skip)\n")
    project.run()
    assert project.run().last == "1 skipped, 7 cached"
    # No trace tells that the list is shorter, so that the mark falls on another test.
    fewer = project.run("tests/test_one.py", "tests/test_three.py")
    assert fewer.last == "1 passed, 1 skipped, 2 cached"
    assert set(fewer.imported) == {"conftest", "test_one", "test_three"}


@pytest.mark.parametrize("how", ["tryfirst=True", "trylast=True", "wrapper=True"])
def test_a_hook_sees_all_tests_whenever_it_is_called(project: Project, how: str) -> None:
    body = "    print('SEEN', len(items))\n" + ("    return (yield)\n" if "wrapper" in how else "")
    hook = f"import pytest\n@pytest.hookimpl({how})\ndef pytest_collection_modifyitems(items):\n{body}"
    project.write("conftest.py", hook)
    project.run("-s")
    again = project.run("-s")
    assert (seen(again.output), again.last, again.imported) == (["SEEN 8"], "8 cached", [])


def test_a_conftest_file_further_down_sees_what_was_collected_before_it(project: Project) -> None:
    project.write("tests/zz/conftest.py", TELL)
    project.write("tests/zz/test_last.py", f"{NOTE_IMPORT}def test_last(): pass\n")
    plain = project.run("-s", *PLAIN)
    project.run("-s")
    again = project.run("-s")
    assert seen(again.output) == seen(plain.output)
    assert (again.last, again.imported, counted(again.output)) == ("9 cached", [], ["collected 9 items"])


def test_tests_that_a_hook_for_reports_sees_late_are_counted_once(project: Project) -> None:
    project.write("tests/zz/conftest.py", "def pytest_runtest_logreport(report): print('SEEN', report.nodeid)\n")
    project.write("tests/zz/test_last.py", f"{NOTE_IMPORT}def test_last(): pass\n")
    project.run("-s")
    again = project.run("-s")
    assert (again.last, again.imported, counted(again.output)) == ("9 cached", [], ["collected 9 items"])
    assert len(seen(again.output)) == 9


def test_a_file_that_conftest_files_ignore_is_there_only_where_it_is_named(project: Project) -> None:
    project.write("conftest.py", "collect_ignore = ['tests/test_one.py']\n")
    assert project.run("tests/test_one.py").last == "2 passed"
    assert project.run("tests/test_one.py").imported == []
    assert project.run().last == "6 passed"
    assert project.run().last == "6 cached"
    assert project.run("tests/test_one.py").last == "2 cached"


@pytest.mark.parametrize("args", [(), ("--doctest-glob=*.md",)])
def test_doctests_in_texts_are_found(project: Project, args: tuple[str, ...]) -> None:
    for name in ("test_it.txt", "read.md"):
        project.write(f"docs/{name}", ">>> 1 + 1\n2\n")
    project.write("docs/test_last.py", "def test_last(): pass\n")
    project.run("docs", *args)
    again, plain = project.run("docs", *args), project.run("docs", *args, *PLAIN)
    assert (again.last, plain.last) == ("2 cached", "2 passed")
    assert counted(again.output) == counted(plain.output) == ["collected 2 items"]
