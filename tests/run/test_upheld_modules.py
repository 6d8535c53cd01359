"""Modules whose tests stand on no block that was edited are not imported, though the file that was edited is theirs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.run.test_light_modules import NOTE_IMPORT, Project

SHOP = """\
def price():
    return 1

def weight():
    return 2

def names():
    return ["tea", "milk"]
"""
PRICE = f"{NOTE_IMPORT}\nimport shop\n\ndef test_price():\n    assert shop.price()\n"
WEIGHT = f"""\
{NOTE_IMPORT}
import pytest, shop

@pytest.mark.parametrize("name", shop.names())
def test_weight(name):
    assert shop.weight()

@pytest.mark.skipif(shop.weight() > 0, reason="too heavy")
def test_light():
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two modules that import one file and run different functions of it, recorded and known."""
    project = Project.below(tmp_path)
    project.write("shop.py", SHOP)
    project.write("tests/test_cart.py", PRICE)
    project.write("tests/test_other.py", WEIGHT)
    assert project.run().last == "3 passed, 1 skipped"
    assert project.run().imported == ["test_other"]  # computed names are found twice
    assert project.run().imported == []
    return project


def edit(project: Project, old: str, new: str, name: str = "shop.py") -> None:
    text = (project.path / name).read_text()
    assert old in text
    project.write(name, text.replace(old, new))


def test_a_comment_imports_nothing(project: Project) -> None:
    edit(project, "return 1", "return 1  # euro")
    first, second = project.run(), project.run()
    assert (first.imported, first.last) == (second.imported, second.last) == ([], "1 skipped, 3 cached")


def test_a_body_imports_what_runs_it_and_nothing_else(project: Project) -> None:
    edit(project, "return 1", "return 3")
    first, second = project.run(), project.run()
    assert (first.imported, first.last) == (["test_cart"], "1 passed, 1 skipped, 2 cached")
    assert (second.imported, second.last) == ([], "1 skipped, 3 cached")


def test_edits_one_after_the_other_are_each_seen(project: Project) -> None:
    edit(project, "return 1", "return 3")
    assert project.run().imported == ["test_cart"]
    edit(project, "return 2", "return 0")
    second = project.run()
    assert (second.imported, second.code) == (["test_other"], 1)
    assert "2 failed, 1 passed, 1 cached" in second.last
    edit(project, "return 3", "return 0")
    third = project.run()
    assert (third.imported, third.last) == (["test_cart", "test_other"], "3 failed, 1 cached")


def test_a_test_that_was_a_hit_when_its_module_was_collected_is_looked_at(project: Project) -> None:
    project.write("tests/test_cart.py", f"{PRICE}\ndef test_weight():\n    assert shop.weight()\n")
    project.run("tests/test_cart.py")
    edit(project, "return 1", "return 3")
    assert project.run("tests/test_cart.py").last == "1 passed, 1 cached"
    edit(project, "return 2", "return 0")
    assert "1 failed, 1 cached" in project.run("tests/test_cart.py").last


def test_computed_names_stay_believed(project: Project) -> None:
    edit(project, "assert shop.weight()", "assert shop.weight() > 1", "tests/test_other.py")
    assert project.run().imported == ["test_other"]
    edit(project, "return 1", "return 3")
    assert project.run().imported == ["test_cart"]
    assert project.run().imported == []


def test_the_run_of_an_edit_counts_where_computed_names_are_to_be_found_twice(tmp_path: Path) -> None:
    project = Project.below(tmp_path)
    project.write("shop.py", SHOP)
    project.write("tests/test_cart.py", PRICE)
    project.write("tests/test_other.py", WEIGHT)
    project.run()
    edit(project, "return 1", "return 3")
    assert project.run().imported == ["test_cart", "test_other"]
    edit(project, "return 3", "return 4")
    assert project.run().imported == ["test_cart"]


def test_names_that_differ_are_not_believed_after_edits_elsewhere(tmp_path: Path) -> None:
    project = Project.below(tmp_path)
    project.write("shop.py", SHOP)
    random = WEIGHT.replace("import pytest, shop", "import os, pytest, shop").replace(
        "shop.names()", "[os.urandom(4).hex()]"
    )
    project.write("tests/test_other.py", random)
    for price in range(3, 7):
        assert "test_other" in project.run().imported
        edit(project, f"return {price - 1 if price > 3 else 1}", f"return {price}")


def test_the_function_that_computes_them_counts(project: Project) -> None:
    edit(project, '"milk"', '"bread"')
    changed = project.run("-v")
    assert changed.imported == ["test_other"]
    assert "test_weight[bread] PASSED" in changed.output


@pytest.mark.parametrize(
    "added",
    ["\ndef test_new():\n    pass\n", "\nRATE = 2\n", "\nclass TestMore:\n    def test_new(self):\n        pass\n"],
)
def test_what_appears_in_a_file_has_those_collected_that_import_it(project: Project, added: str) -> None:
    edit(project, SHOP, SHOP + added)
    assert project.run().imported == ["test_cart", "test_other"]


def test_a_comment_above_tests_has_them_collected_for_their_lines(project: Project) -> None:
    edit(project, "@pytest.mark.skipif", "# soon\n@pytest.mark.skipif", "tests/test_other.py")
    moved = project.run("-rs")
    assert (moved.imported, moved.last) == (["test_other"], "1 skipped, 3 cached")
    assert "tests/test_other.py:11: too heavy" in moved.output


def test_a_skip_is_told_as_before(project: Project) -> None:
    edit(project, "return 1", "return 1  # euro")
    told = project.run("-rs")
    assert (told.imported, told.last) == ([], "1 skipped, 3 cached")
    assert "SKIPPED [1] tests/test_other.py:10: too heavy" in told.output


@pytest.mark.parametrize(("edited", "imported"), [("return 1", []), ("return 2", ["test_third"])])
def test_a_module_that_is_skipped_as_a_whole(project: Project, edited: str, imported: list[str]) -> None:
    project.write("shop.py", f"{SHOP}\ndef late():\n    return 5\n")
    asks = "if shop.late() > shop.weight():\n    pytest.skip('late', allow_module_level=True)\n"
    project.write("tests/test_third.py", f"{NOTE_IMPORT}\nimport pytest, shop\n{asks}")
    assert project.run().last == "2 skipped, 3 cached"
    assert project.run().imported == ["test_other"]  # computed names once more: something is new that it imports
    edit(project, edited, f"{edited} + 1")
    told = project.run("-rs")
    assert [name for name in told.imported if name == "test_third"] == imported
    assert "SKIPPED [1] tests/test_third.py:6: late" in told.output


def test_under_a_selection(project: Project) -> None:
    edit(project, "return 1", "return 3")
    selected = project.run("-k", "weight or light")
    assert (selected.imported, selected.last) == (["test_cart"], "1 skipped, 1 deselected, 2 cached")


def test_with_workers(project: Project) -> None:
    edit(project, "return 1", "return 3")
    first, second = project.run("-n2"), project.run("-n2")
    assert set(first.imported) == {"test_cart"}
    assert (first.last, second.imported, second.last) == (
        "1 passed, 1 skipped, 2 cached",
        [],
        "1 skipped, 3 cached",
    )


def test_a_test_that_is_named_runs(project: Project) -> None:
    edit(project, "return 1", "return 1  # euro")
    named = project.run("tests/test_cart.py::test_price")
    assert (named.imported, named.last) == (["test_cart"], "1 passed")


def test_files_that_a_conftest_file_ignores_from_now_on(project: Project) -> None:
    project.write("tests/conftest.py", "collect_ignore = []\n")
    assert project.run().code == project.run().code == 0
    edit(project, "[]", '["test_other.py"]', "tests/conftest.py")
    assert project.run().last == "1 passed"


def test_what_holds_is_an_earlier_record_with_other_facts(project: Project) -> None:
    for name in ("one", "two"):
        project.write(f"{name}.txt", name)
    project.write("shop.py", 'def which():\n    return "one.txt"\n\ndef read():\n    return open(which()).read()\n')
    project.write("tests/test_other.py", "")
    project.write("tests/test_cart.py", f"{NOTE_IMPORT}\nimport shop\n\ndef test_read():\n    assert shop.read()\n")
    assert project.run().last == "1 passed"
    edit(project, "one.txt", "two.txt")
    assert project.run().last == "1 passed"
    edit(project, "two.txt", "one.txt")
    edit(project, "def which", "# one of two\ndef which")
    upheld = project.run()
    assert (upheld.imported, upheld.last) == ([], "1 cached")
    project.write("two.txt", "more")
    assert project.run().last == "1 cached"
    project.write("one.txt", "more")
    assert project.run().last == "1 passed"


def test_what_an_earlier_record_stands_on_is_looked_at_from_then_on(project: Project) -> None:
    for name in ("one", "two"):
        project.write(f"{name}.py", "def price():\n    return 1\n")
    project.write(
        "shop.py", "import one, two\n\ndef which():\n    return one\n\ndef price():\n    return which().price()\n"
    )
    project.write("tests/test_other.py", "")
    project.write("tests/test_cart.py", PRICE)
    assert project.run().last == "1 passed"
    edit(project, "return one", "return two")
    assert project.run().last == "1 passed"
    edit(project, "return two", "return one  # again")
    assert project.run().last == "1 cached"
    edit(project, "return 1", "return 2", "two.py")
    assert project.run().last == "1 cached"
    edit(project, "return 1", "return 0", "one.py")
    assert "1 failed" in project.run().last


def test_what_holds_is_an_earlier_record_that_ended_otherwise(project: Project) -> None:
    project.write("tests/test_other.py", "")
    project.write("shop.py", "def closed():\n    return True\n")
    asks = "def test_buy():\n    if shop.closed():\n        pytest.skip('closed')\n"
    project.write("tests/test_cart.py", f"{NOTE_IMPORT}\nimport pytest, shop\n\n{asks}")
    assert project.run().last == "1 skipped"
    edit(project, "True", "False")
    assert project.run().last == "1 passed"
    edit(project, "False", "True  # today")
    assert project.run().last == "1 skipped"


def test_what_was_only_collected_is_known_too(project: Project) -> None:
    edit(project, "return 1", "return 1  # euro")
    edit(project, "@pytest.mark.skipif", "# soon\n@pytest.mark.skipif", "tests/test_other.py")
    collected = project.run()
    assert (collected.imported, collected.last) == (["test_other"], "1 skipped, 3 cached")
    edit(project, "return 1", "return 3")
    assert project.run().imported == ["test_cart"]


def test_what_was_upheld_once_stands_without_another_look(project: Project) -> None:
    edit(project, "return 1", "return 1  # euro")
    assert project.run().imported == []
    damage(project)
    assert project.run().imported == []


def damage(project: Project) -> None:
    """What is known of collections can not be read any more."""
    (database,) = (project.path / ".perfcache").rglob("cache.db")
    with sqlite3.connect(database) as connection:
        changed = connection.execute("UPDATE Cache SET value = x'00' WHERE key LIKE 'collected/%'")
        assert changed.rowcount > 0
    connection.close()


def test_a_list_that_can_not_be_read_is_collected(project: Project) -> None:
    damage(project)
    edit(project, "return 1", "return 1  # euro")
    damaged = project.run()
    assert (damaged.imported, damaged.last) == (["test_cart", "test_other"], "1 skipped, 3 cached")
    assert project.run().imported == ["test_other"]  # whose computed names have to be found twice again
    assert project.run().imported == []
