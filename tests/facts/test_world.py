"""Does a recorded fact still hold?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_perfcache.facts.digest import ABSENT, fingerprint
from pytest_perfcache.facts.distributions import Distributions
from pytest_perfcache.facts.imports import ImportResolver
from pytest_perfcache.facts.mentions import reflective_text
from pytest_perfcache.facts.places import Places
from pytest_perfcache.facts.source import analyse
from pytest_perfcache.facts.stats import StatCache
from pytest_perfcache.facts.surroundings import VOLATILE_VARIABLES
from pytest_perfcache.facts.world import Changed, Rebound, Same, State, World
from pytest_perfcache.model import Fact
from tests.facts.test_source import FILES

CART = b"def tax(x):\n    return x\n\ndef total(xs):\n    return sum(xs)\n\nLIMIT = 3\n"


class Project:
    """A directory, what is remembered of it, and the world as it is now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources: dict[bytes, bytes] = {}
        self.environ: dict[str, str] = {}
        self.run: dict[str, bytes] = {}

    def write(self, path: str, content: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self.sources[fingerprint(content)] = content

    def world(self) -> World:
        places = Places.of(self.root)
        return World(
            places=places,
            stats=StatCache(places.root),
            distributions=Distributions([]),
            imports=ImportResolver(places, []),
            run=self.run,
            old_source=self.sources.get,
            environ=dict(self.environ),
        )

    def after(self, key: str, change: Callable[[], object]) -> State:
        """Record a fact, change something, and look again."""
        fact = Fact(key, self.world().fingerprint(key))
        assert self.world().state(fact) == Same()
        change()
        return self.world().state(fact)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.write("cart.py", CART)
    project.write("data/tax.json", b"20")
    return project


def test_a_comment_leaves_blocks_and_skeletons_true(project: Project) -> None:
    for key in ("block:cart.py::tax", "skeleton:cart.py"):
        assert project.after(key, lambda: project.write("cart.py", b"# hello\n" + CART)) == Same()


def test_an_edit_in_one_function_changes_that_block_alone(project: Project) -> None:
    world, edited = project.world(), CART.replace(b"return x\n", b"return 2 * x\n")
    facts = [
        Fact(key, world.fingerprint(key))
        for key in ("block:cart.py::tax", "block:cart.py::total", "skeleton:cart.py", "source:cart.py")
    ]
    project.write("cart.py", edited)

    now = project.world()
    assert [now.state(fact) for fact in facts] == [Changed("changed"), Same(), Same(), Changed("changed")]


@pytest.mark.parametrize(
    ("key", "new", "state"),
    [
        ("skeleton:cart.py", CART.replace(b"3", b"4"), Rebound("cart.py", frozenset(), frozenset({"LIMIT"}))),
        ("skeleton:cart.py", CART.replace(b"3", b"len('abc')"), Changed("changed")),
        ("skeleton:cart.py", CART + b"def more(): ...\n", Rebound("cart.py", frozenset({"more"}))),
        ("skeleton:cart.py", CART.replace(b"tax(x)", b"tax(x, y=1)"), Rebound("cart.py", frozenset({"tax"}))),
        ("block:cart.py::tax", CART.replace(b"def tax", b"def toll"), Changed("gone")),
        ("block:cart.py::tax", b"def tax(:\n", Changed("not valid Python")),
        ("block:cart.py::tax.<locals>.<lambda>", CART.replace(b"LIMIT", b"TOP"), Same()),
        ("block:cart.py::unknown", CART + b"\nx = 1\n", Changed("changed")),
    ],
)
def test_a_changed_file_is_compared_by_its_parts(project: Project, key: str, new: bytes, state: State) -> None:
    assert project.after(key, lambda: project.write("cart.py", new)) == state


def test_without_the_earlier_content_any_other_content_is_a_change(project: Project) -> None:
    def forget_and_comment() -> None:
        project.sources.clear()
        project.write("cart.py", CART + b"# hello\n")

    assert project.after("block:cart.py::tax", forget_and_comment) == Changed("changed")


def test_without_the_earlier_content_the_same_content_still_holds(project: Project) -> None:
    assert project.after("block:cart.py::tax", project.sources.clear) == Same()


def test_who_mentions_a_new_name_is_told_apart(project: Project) -> None:
    project.write("use.py", b"import cart\n\ndef f():\n    return cart.more()\n\ndef g():\n    return 1\n")
    world = project.world()
    new = Rebound("cart.py", frozenset({"more"}))

    def sees(key: str) -> bool:
        return world.reaches(new, [Fact(key, world.fingerprint(key))]) is not None

    assert sees("block:use.py::f")
    assert not sees("block:use.py::g")
    assert not sees("skeleton:use.py")
    assert not sees("skeleton:cart.py")
    assert sees("source:use.py")


def test_code_that_can_not_be_found_again_may_mention_anything(project: Project) -> None:
    gone = Fact("block:cart.py::tax", b"?" * 16)

    assert project.world().reaches(Rebound("cart.py", frozenset({"more"})), [gone])


@given(st.sampled_from(FILES), st.data())
@settings(max_examples=15, deadline=None)
def test_the_sieve_never_hides_a_mention(file: Path, data: st.DataObject) -> None:
    source = file.read_bytes()
    analysis = analyse(source)
    assert analysis is not None
    mention = data.draw(st.sampled_from(sorted(analysis.all_mentions)))

    assert reflective_text(source) or mention.lstrip("<:=@~^$").encode() in source


@pytest.mark.parametrize(
    ("bases", "plain"),
    [
        ("", True),
        ("(object)", True),
        ("(ValueError, dict)", True),
        ("(Base)", True),
        ("(Other)", True),
        ("(Far)", True),
        ("(Unknown)", False),
        ("(type)", False),
        ("(made())", False),
        ("(Decorated)", False),
        ("(Foreign)", False),
        ("(Meta)", False),
        ("(Hooked)", False),
        ("(Itself)", False),
    ],
)
def test_attributes_stand_apart_where_all_bases_are_plain(project: Project, bases: str, plain: bool) -> None:
    project.write("shop/__init__.py", b"from .base import Base as Far\n")
    project.write("shop/base.py", b"class Base: ...\nclass Meta(metaclass=M): ...\nfrom enum import Enum as Foreign\n")
    text = (
        b"from .base import Base, Meta, Foreign\nfrom shop import Far\nclass Other(Base): ...\n"
        b"@made\nclass Decorated: ...\nclass Hooked:\n    def __init_subclass__(cls): ...\n"
        b"class Itself(Itself): ...\nclass Cart%s:\n    limit = 1\n" % bases.encode()
    )
    project.write("shop/cart.py", text)

    state = project.after("skeleton:shop/cart.py", lambda: project.write("shop/cart.py", text.replace(b"1", b"2")))

    assert isinstance(state, Rebound) is plain


@pytest.mark.parametrize(
    ("key", "change", "state"),
    [
        ("file:data/tax.json", ("data/tax.json", b"21"), Changed("changed")),
        ("file:data/override.json", ("data/override.json", b"1"), Changed("appeared")),
        ("dir:data", ("data/new.json", b"1"), Changed("changed")),
        ("dir:data", ("data/tax.json", b"21"), Same()),
        ("dir:data", ("data/__pycache__/x.pyc", b"1"), Same()),
        ("dir:later", ("later/x", b"1"), Changed("appeared")),
        ("glob:data/*.json", ("data/tax.json", b"21"), Changed("changed")),
        ("glob:data/*.json", ("data/new.json", b"1"), Changed("changed")),
        ("glob:data/*.json", ("data/new.txt", b"1"), Same()),
        ("stat:data/tax.json", ("data/tax.json", b"21"), Same()),
        ("stat:data/tax.json", ("data/tax.json", b"200"), Changed("changed")),
        ("stat:data/none", ("data/none", b""), Changed("appeared")),
    ],
)
def test_files_directories_and_patterns(project: Project, key: str, change: tuple[str, bytes], state: State) -> None:
    assert project.after(key, lambda: project.write(*change)) == state


def test_a_file_that_is_gone(project: Project) -> None:
    assert project.after("file:data/tax.json", (project.root / "data/tax.json").unlink) == Changed("gone")


def test_mode_and_link_target_are_seen_by_stat(project: Project) -> None:
    link = project.root / "link"
    link.symlink_to("cart.py")
    file = project.root / "data" / "tax.json"

    def retarget() -> None:
        link.unlink()
        link.symlink_to("data/tax.json")

    assert project.after("stat:link", retarget) == Changed("changed")
    assert project.after("stat:data/tax.json", lambda: file.chmod(0o600)) == Changed("changed")


def test_variables_one_by_one(project: Project) -> None:
    project.environ["REGION"] = "north"

    assert project.after("env:REGION", lambda: project.environ.update(OTHER="x")) == Same()
    assert project.after("env:REGION", lambda: project.environ.update(REGION="south")) == Changed("changed")
    assert project.after("env:REGION", project.environ.clear) == Changed("gone")
    assert project.after("env:REGION", lambda: project.environ.update(REGION="")) == Changed("appeared")


def test_the_whole_environment_is_what_does_not_change_by_itself(project: Project) -> None:
    noise = dict.fromkeys(VOLATILE_VARIABLES, "other")

    assert project.after("environ:", lambda: project.environ.update(noise)) == Same()
    assert project.after("environ:", lambda: project.environ.update(NEW="1")) == Changed("changed")


def test_facts_of_the_run_are_what_the_run_says(project: Project) -> None:
    project.run["option:own"] = b"1" * 16

    assert project.after("option:own", lambda: project.run.update({"option:own": b"2" * 16})) == Changed("changed")
    assert project.after("option:own", project.run.clear) == Changed("gone")
    assert project.after("ini:none", lambda: project.run.update({"ini:none": b"1" * 16})) == Changed("appeared")


def test_a_distribution_that_is_not_there_stays_absent(project: Project) -> None:
    assert project.world().state(Fact("dist:nothing", ABSENT)) == Same()


def test_another_checkout_of_the_same_content_is_the_same_world(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "elsewhere")
    for path in ("cart.py", "data/tax.json"):
        other.write(path, (project.root / path).read_bytes())
    keys = (
        "skeleton:cart.py",
        "block:cart.py::tax",
        "file:data/tax.json",
        "dir:data",
        "glob:**/*.json",
        "stat:cart.py",
    )

    assert [other.world().fingerprint(key) for key in keys] == [project.world().fingerprint(key) for key in keys]
