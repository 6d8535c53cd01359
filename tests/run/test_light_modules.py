"""Modules whose tests are all hits are not imported, and nobody can tell but by the time it takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_perfcache.run.collecting import is_plain
from tests.schedule.projects import ROOT

NOTE_IMPORT = "import os\nwith open(os.environ['NOTES'], 'a') as notes: notes.write(__name__ + '\\n')\n"
"""Says that the module was imported, into a file that the plugin takes for the run's own."""

CART = f"""\
{NOTE_IMPORT}
import pytest, shop
pytestmark = pytest.mark.slow

class TestCart:
    @pytest.mark.owner("ann", level=(1, 2))
    def test_one(self):
        assert shop.price()

    class TestInner:
        def test_deep(self, tmp_path):
            pass

def test_plain():
    pass
test_plain.nickname = True
"""
OTHER = f"""\
{NOTE_IMPORT}
import unittest

class Suite(unittest.TestCase):
    def test_unit(self):
        pass
"""
HEAD = re.compile(r" in \d.*| \[ *\d+%\]|plugins: .*|^perfcache: .*", re.MULTILINE)


class Project:
    """Two test modules that tell when they are imported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes = path.with_suffix(".notes")
        self.write("pytest.ini", "[pytest]\npythonpath = .\nmarkers =\n  slow\n  owner(name)\n")
        self.write("shop.py", "def price():\n    return 1\n")
        self.write("tests/test_cart.py", CART)
        self.write("tests/test_other.py", OTHER)

    @classmethod
    def below(cls, directory: Path) -> Project:
        """In a directory of its own, beside which others may lie."""
        return cls(directory / "project")

    def write(self, name: str, text: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def run(self, *args: str) -> Session:
        self.notes.write_text("")
        command = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "pytest_perfcache.plugin"]
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        extra = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "NOTES": str(self.notes)}
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", *args],
            cwd=self.path,
            env={**kept, **extra},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Session(done.returncode, done.stdout + done.stderr, self.notes.read_text().split())


class Session:
    """How a run ended: its exit code, what it said, and the test modules that were imported."""

    def __init__(self, code: int, output: str, imported: list[str]) -> None:
        self.code = code
        self.output = output
        self.imported = sorted(imported)

    @property
    def last(self) -> str:
        return re.sub(r"^=+ | in \d.*", "", self.output.splitlines()[-1])

    @property
    def said(self) -> str:
        """The output without figures of time and progress."""
        return HEAD.sub("", self.output)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.below(tmp_path)


@pytest.fixture
def settled(project: Project) -> Project:
    """Recorded once."""
    assert project.run().imported == ["test_cart", "test_other"]
    return project


def test_nothing_is_imported_when_nothing_changed(settled: Project) -> None:
    second = settled.run()
    assert (second.code, second.imported, second.last) == (0, [], "4 cached")
    assert "collected 4 items" in second.output
    assert "hit rate 100 % (4 of 4)" in second.output


def test_only_the_modules_with_something_to_run_are_imported(settled: Project) -> None:
    settled.write("shop.py", "def price():\n    return 2\n")
    changed = settled.run()
    assert (changed.imported, changed.last) == (["test_cart"], "1 passed, 3 cached")
    assert settled.run().imported == []


@pytest.mark.parametrize("package", [False, True])
def test_several_files_that_are_named_count_once_each(settled: Project, package: bool) -> None:
    settled.write("tests/test_third.py", f"{NOTE_IMPORT}def test_third(): pass\n")
    settled.write("tests/test_fourth.py", f"{NOTE_IMPORT}def test_fourth(): pass\n")
    if package:
        settled.write("tests/__init__.py", "")
    settled.run()
    some = settled.run(*(f"tests/test_{name}.py" for name in ("cart", "third", "fourth")))
    assert (some.imported, some.last) == ([], "5 cached")
    if pytest.version_tuple >= (9,):  # before, such arguments ran the file twice and nothing else of the directory
        twice = settled.run("tests/test_cart.py", "tests", "tests/test_cart.py")
        assert (twice.imported, twice.last) == ([], "6 cached")
    kept = settled.run("--keep-duplicates", "tests/test_third.py", "tests/test_third.py")
    assert (kept.code, kept.last) == (0, "2 cached")


def test_going_back_to_an_earlier_state_imports_nothing(settled: Project) -> None:
    settled.write("shop.py", "def price():\n    return 2\n")
    assert settled.run().last == "1 passed, 3 cached"
    settled.write("shop.py", "def price():\n    return 1\n")
    back = settled.run()
    assert (back.imported, back.last) == ([], "4 cached")


def test_a_test_that_is_added_runs(settled: Project) -> None:
    settled.write("tests/test_other.py", OTHER + "\ndef test_more():\n    pass\n")
    more = settled.run()
    assert (more.imported, more.last) == (["test_other"], "1 passed, 4 cached")


def test_a_test_that_a_base_class_elsewhere_gets_runs(project: Project) -> None:
    project.write("base.py", "class Base:\n    def test_old(self):\n        pass\n")
    project.write("tests/test_child.py", "import base\nclass TestChild(base.Base):\n    pass\n")
    assert project.run().last == "5 passed"
    project.write(
        "base.py", "class Base:\n    def test_old(self):\n        pass\n    def test_new(self):\n        pass\n"
    )
    assert project.run("--perfcache-explain").last == "1 passed, 5 cached"


@pytest.mark.parametrize(
    "args",
    [
        ("-k", "one or unit"),
        ("-k", "nickname"),
        ("-k", "not TestInner and not Suite"),
        ("-m", "slow"),
        ("-m", "owner"),
        ("--deselect", "tests/test_cart.py::TestCart"),
        ("tests/test_other.py",),
        ("-rA",),
    ],
    ids=" ".join,
)
def test_a_selection_is_the_same_with_light_tests(settled: Project, args: tuple[str, ...]) -> None:
    real, light = (
        settled.run("-v", *args, "-p", "no:perfcache", "-p", "no:pytest_perfcache.plugin"),
        settled.run("-v", *args),
    )
    assert light.imported == []
    selected = [sorted(re.findall(r"^(\S+::\S+)", run.output, re.MULTILINE)) for run in (real, light)]
    assert selected[0] == selected[1]
    assert selected[0]


def test_what_collect_only_shows_stays_the_same(settled: Project) -> None:
    assert settled.run("--collect-only").said == settled.run("--collect-only", "-p", "no:perfcache").said


def seen_by_hook(run: Session) -> list[str]:
    return sorted(line for line in run.output.splitlines() if line.startswith("SEEN"))


def test_a_hook_sees_the_same_tests(settled: Project) -> None:
    settled.write("conftest.py", HOOK)
    real, light = settled.run("-s"), settled.run("-s")
    assert seen_by_hook(real) == seen_by_hook(light)
    assert len(seen_by_hook(real)) == 4
    assert light.imported == []


def test_a_hook_sees_the_same_parametrized_tests(project: Project) -> None:
    project.write("tests/test_many.py", PARAMETRIZED)
    project.write("conftest.py", HOOK.replace('hasattr(item, "callspec"), ', ""))  # the real one is asked for that
    real = project.run("-s")
    project.run("-s")
    light = project.run("-s")
    assert seen_by_hook(real) == seen_by_hook(light)
    assert len(seen_by_hook(real)) == 4 + 2 * 2 + 3 + 2
    assert light.imported == []


HOOK = """\
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        owner = item.get_closest_marker("owner")
        print("SEEN", item.nodeid, item.name, item.originalname, item.location, sorted(item.fixturenames),
              [mark.name for mark in item.iter_markers()], owner and (owner.args, owner.kwargs),
              sorted(item.keywords), [node.name for node in item.listchain()], isinstance(item, pytest.Function),
              hasattr(item, "callspec"), repr(item), item.path.name, item.getparent(pytest.Class) is None)
"""


def test_who_asks_for_the_function_gets_the_real_one(settled: Project) -> None:
    settled.write("conftest.py", ASK)
    settled.run("-s")
    light = settled.run("-s")
    answers = [line for line in light.output.splitlines() if line.startswith("GOT")]
    assert answers == ["GOT test_one TestCart test_cart True", "GOT test_unit Suite test_other True"]
    assert light.imported == ["test_cart", "test_other"]
    assert light.last == "4 cached"


PARAMETRIZED = f"""\
{NOTE_IMPORT}
import pytest

class Base:
    @pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_x(self, x): pass

class TestOne(Base): pass
class TestTwo(Base): pass

@pytest.mark.parametrize("x", ["test_y", "", "[]"])
def test_y(x, tmp_path): pass

@pytest.mark.parametrize("x", [1, 2])
def test_z(x): pass
test_z.nickname = True
"""


ASK = """\
import types

def pytest_collection_modifyitems(items):
    for item in items:
        if item.name in ("test_one", "test_unit"):
            print("GOT", item.function.__name__, item.cls.__name__, item.module.__name__,
                  isinstance(item.function, types.FunctionType))
"""


def test_a_hook_of_a_directory_sees_tests_that_were_collected_before_it_appeared(settled: Project) -> None:
    settled.write("tests/zz/test_late.py", "def test_late():\n    pass\n")
    settled.write("tests/zz/conftest.py", "def pytest_collection_modifyitems(items): print('SEEN', len(items))\n")
    settled.run("-s")
    assert "SEEN 5" in settled.run("-s").output


def test_names_that_differ_from_run_to_run_are_always_collected(project: Project) -> None:
    project.write(
        "tests/test_random.py",
        f"{NOTE_IMPORT}import uuid, pytest\n@pytest.mark.parametrize('x', [str(uuid.uuid4())])\ndef test_r(x): pass\n",
    )
    for _ in range(4):
        again = project.run()
        assert "test_random" in again.imported
        assert "1 passed" in again.last or "5 passed" in again.last


def test_computed_names_are_collected_twice_before_they_are_believed(project: Project) -> None:
    project.write(
        "tests/test_many.py",
        f"{NOTE_IMPORT}import pytest\n@pytest.mark.parametrize('x', range(3))\ndef test_m(x): pass\n",
    )
    assert [project.run().imported[:1] for _ in range(3)] == [["test_cart"], ["test_many"], []]


def test_modules_of_several_directories_settle_though_another_test_runs_each_time(project: Project) -> None:
    computed = f"{NOTE_IMPORT}import pytest\n@pytest.mark.parametrize('x', range(3))\ndef test_m(x): pass\n"
    for name in ("a", "b", "c"):
        project.write(f"tests/{name}/test_in_{name}.py", computed)
    project.write("tests/test_wrong.py", "def test_wrong(): assert False\n")
    project.run()
    project.run()
    third = project.run()
    assert (third.imported, third.last) == ([], "1 failed, 13 cached")


def test_what_a_test_leaves_on_its_function_does_not_count(project: Project) -> None:
    project.write(
        "tests/test_marking.py",
        f"{NOTE_IMPORT}import pytest\n@pytest.mark.parametrize('x', range(3))\ndef test_m(x): test_m.seen = x\n",
    )
    assert [("test_marking" in project.run().imported) for _ in range(3)] == [True, True, False]


SCOPED = f"""\
{NOTE_IMPORT}
import pytest

@pytest.fixture(scope="module", params=["x", "y"])
def letter(request): return request.param

@pytest.fixture(scope="class", params=[1, 2])
def number(request): return request.param

class TestLetters:
    def test_a(self, letter, number): pass
    def test_b(self, letter, number): pass

def test_c(letter): pass
"""


def test_parameters_of_a_module_or_a_class_are_shown_in_pytests_order(project: Project) -> None:
    project.write("tests/test_scoped.py", SCOPED)
    project.run()
    project.run()
    plain, again = project.run("-v", "--no-perfcache"), project.run("-v")

    def order(output: str) -> list[str]:
        return re.findall(r"^tests/test_scoped\S*", output, re.MULTILINE)

    assert again.imported == []
    assert len(order(plain.output)) == 10
    assert order(again.output) == order(plain.output)


def test_workers_import_only_what_has_something_to_run(settled: Project) -> None:
    settled.write("tests/test_new.py", f"{NOTE_IMPORT}def test_a(): pass\ndef test_b(): pass\n")
    distributed = settled.run("-n", "2")
    assert set(distributed.imported) == {"test_new"}
    assert distributed.last == "2 passed, 4 cached"
    assert settled.run("-n", "2").imported == []


def test_workers_tell_of_the_tests_that_were_selected_among_those_that_they_do_not_import(settled: Project) -> None:
    settled.write("tests/test_new.py", f"{NOTE_IMPORT}def test_one_more(): pass\ndef test_b(): pass\n")
    distributed = settled.run("-n", "2", "-k", "one", "-v")
    assert distributed.last == "1 passed, 1 cached"
    assert "tests/test_cart.py::TestCart::test_one CACHED" in distributed.output


def test_a_module_that_leans_on_the_path_that_another_puts_there_finds_it(project: Project) -> None:
    project.write("tests/a/test_first.py", f"{NOTE_IMPORT}def test_first(): pass\n")
    project.write("tests/a/helper_of_a.py", "VALUE = 1\n")
    project.write("tests/b/test_second.py", "import helper_of_a\ndef test_second(): assert helper_of_a.VALUE\n")
    assert project.run().code == 0
    project.write("tests/b/test_second.py", "import helper_of_a\ndef test_second(): assert helper_of_a.VALUE == 1\n")
    second = project.run()
    assert "test_first" not in second.imported
    assert second.code == 0, second.output


def test_junit_xml_names_every_test(settled: Project) -> None:
    settled.run("--junitxml=out.xml")
    light = settled.run("--junitxml=out.xml")
    document = (settled.path / "out.xml").read_text()
    assert light.imported == []
    assert document.count("<testcase ") == 4
    assert 'classname="tests.test_cart.TestCart" name="test_one"' in document


def test_a_failure_is_not_forgotten_by_a_settled_module(settled: Project) -> None:
    settled.write("shop.py", "def price():\n    return 0\n")
    assert settled.run().last == "1 failed, 3 cached"
    assert settled.run().last == "1 failed, 3 cached"
    settled.write("shop.py", "def price():\n    return 1\n")
    assert settled.run().last == "4 cached"


def test_another_choice_of_what_is_a_test_collects_everything(settled: Project) -> None:
    settled.write(
        "pytest.ini",
        "[pytest]\npythonpath = .\npython_functions = test_ check_\nmarkers =\n  slow\n  owner(name)\n",
    )
    assert settled.run().imported == ["test_cart", "test_other"]


SPLIT = f"{NOTE_IMPORT}import pytest\n@pytest.mark.slow\ndef test_slow(): pass\ndef test_quick(): pass\n"


def test_tests_that_are_always_left_out_make_no_module_be_imported(project: Project) -> None:
    project.write("tests/test_cart.py", SPLIT)
    first = project.run("-m", "not slow")
    assert len(first.imported) == 2
    second = project.run("-m", "not slow")
    assert second.imported == []
    assert "2 cached, 1 deselected" in second.output or "1 deselected, 2 cached" in second.output
    assert "collected 3 items / 1 deselected / 2 selected" in second.output
    shown = project.run("-m", "not slow", "-v")
    assert shown.imported == []
    assert "test_quick" in shown.output
    assert "test_slow" not in shown.output


@pytest.mark.parametrize("args", [(), ("-m", "slow"), ("-k", "slow")])
def test_what_was_left_out_runs_once_it_is_selected(project: Project, args: tuple[str, ...]) -> None:
    project.write("tests/test_cart.py", SPLIT)
    project.run("-m", "not slow")
    after = project.run("-v", *args)
    assert "test_slow PASSED" in after.output
    assert after.imported == ["test_cart"]


def test_what_a_plugin_left_out_is_asked_of_it_again(project: Project) -> None:
    project.write("tests/test_cart.py", SPLIT)
    project.write(
        "tests/conftest.py",
        "import os\ndef pytest_collection_modifyitems(config, items):\n"
        "    gone = [item for item in items if 'slow' in item.name and not os.path.exists('later')]\n"
        "    config.hook.pytest_deselected(items=gone)\n"
        "    items[:] = [item for item in items if item not in gone]\n",
    )
    project.run()
    project.write("later", "")
    assert "test_slow PASSED" in project.run("-v").output


def test_workers_leave_modules_alone_of_which_a_part_is_always_left_out(project: Project) -> None:
    project.write("tests/test_cart.py", SPLIT)
    project.run("-m", "not slow", "-n", "2")
    project.write("tests/test_new.py", f"{NOTE_IMPORT}def test_a(): pass\ndef test_b(): pass\n")
    second = project.run("-m", "not slow", "-n", "2")
    assert set(second.imported) == {"test_new"}
    assert "2 passed, 2 cached" in second.output


PLAIN = """\
def helped():
    '''
    >>> helped()
    1
    '''
    return 1
def test_in_a_plain_file():
    pass
"""


@pytest.fixture
def with_plain(settled: Project) -> Project:
    """A file beside the tests that has no test module's name."""
    settled.write("tests/helper.py", PLAIN)
    settled.run()
    return settled


def test_a_file_without_a_test_module_s_name_is_collected_where_it_is_named(with_plain: Project) -> None:
    assert with_plain.run("tests").last == "4 cached"
    assert with_plain.run("tests/helper.py", "tests/test_cart.py").last == "1 passed, 3 cached"


def test_a_file_without_a_test_module_s_name_is_collected_for_its_doctests(with_plain: Project) -> None:
    with_plain.run("--doctest-modules")
    again = with_plain.run("--doctest-modules", "-v")
    assert "tests/helper.py::tests.helper.helped" in again.output or "helper.py::helper.helped" in again.output


def test_a_hook_for_files_is_asked_about_each(with_plain: Project) -> None:
    hook = "def pytest_collect_file(file_path):\n    with open(os.environ['NOTES'], 'a') as notes:\n"
    with_plain.write("conftest.py", f"import os\n{hook}        notes.write(file_path.name + '\\n')\n")
    with_plain.write("tests/cases.yml", "")
    with_plain.run()
    again = with_plain.run()
    assert again.last == "4 cached"
    assert {"helper.py", "cases.yml", "test_cart.py", "test_other.py"} <= set(again.imported)


@pytest.mark.parametrize(
    ("name", "patterns", "plain"),
    [
        ("helper.py", ["test_*.py", "*_test.py"], True),
        ("test_helper.py", ["test_*.py", "*_test.py"], False),
        ("helper_test.py", ["test_*.py", "*_test.py"], False),
        ("helper.py", ["*.py"], False),
        ("helper.py", ["checks/*.py"], False),
        ("helper.txt", ["test_*.py"], False),
        ("helper.rst", ["test_*.py"], False),
        ("helper.json", ["test_*.py"], True),
        ("helper.json", ["checks/*.py"], True),
    ],
)
def test_a_plain_file_is_known_by_its_name(name: str, patterns: list[str], plain: bool) -> None:
    assert is_plain(name, patterns) == plain
