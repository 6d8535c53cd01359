"""The import closure: what a test depends on because of what its modules import."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_perfcache.facts.places import Places
from pytest_perfcache.facts.stats import Signature
from pytest_perfcache.trace.codes import Codes, import_statements, nested
from pytest_perfcache.trace.leads import Resolver
from pytest_perfcache.trace.modules import Module, Modules
from pytest_perfcache.trace.unit import Unit, numbers_in

PREFIX = "perfcache_closure_"


class Project:
    """Modules of a project as if they had been imported, without executing them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.codes = Codes()
        self.modules = Modules(Places.of(root), self.codes)

    def load(self, name: str, text: str, *, seen: bool = True) -> Module | None:
        path = f"{PREFIX}{name.replace('.', '/')}.py"
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        module = ModuleType(PREFIX + name)
        module.__file__ = str(file)
        sys.modules[PREFIX + name] = module
        if not seen:
            return None
        found = self.modules.add(path, PREFIX + name, text.encode(), Signature.of(file))
        code = compile(text, path, "exec", dont_inherit=True)
        found.imports = tuple(import_statements(code))
        self._number(path, code)
        return found

    def _number(self, path: str, code: CodeType) -> None:
        for inner in nested(code):
            self.codes.number(path, inner)
            self._number(path, inner)

    def closure(self, *names: str, blocks: Set[int] = frozenset()) -> set[str]:
        unit = Unit("test", blocks=set(blocks))
        touched = self.modules.touched(unit, (), [f"{PREFIX}{name}.py" for name in names])
        paths = (self.modules.by_number[number].path for number in numbers_in(touched.modules))
        return {path.removeprefix(PREFIX).removesuffix(".py") for path in paths}


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    yield
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def imports(*names: str) -> str:
    return "".join(f"import {PREFIX}{name}\n" for name in names)


def test_the_closure_follows_import_statements(project: Project) -> None:
    project.load("a", imports("b"))
    project.load("b", imports("c"))
    project.load("c", imports("a"))
    project.load("unrelated", "")

    assert project.closure("a") == {"a", "b", "c"}
    assert project.closure("unrelated") == {"unrelated"}


@settings(max_examples=25, deadline=None)
@given(edges=st.lists(st.sets(st.integers(0, 7)), min_size=8, max_size=8), root=st.integers(0, 7))
def test_the_closure_is_all_that_can_be_reached(
    tmp_path_factory: pytest.TempPathFactory, edges: list[set[int]], root: int
) -> None:
    forget()
    project = Project(tmp_path_factory.mktemp("closure"))
    for number, targets in enumerate(edges):
        project.load(f"m{number}", imports(*(f"m{target}" for target in targets)))
    reached = {root}
    while more := set().union(*(edges[number] for number in reached)) - reached:
        reached |= more

    assert project.closure(f"m{root}") == {f"m{number}" for number in reached}


def test_an_import_inside_a_function_counts_once_that_function_ran(project: Project) -> None:
    project.load("a", f"def f():\n    {imports('b')}")
    project.load("b", "")

    assert project.closure("a") == {"a"}
    assert project.closure("a", blocks={0}) == {"a", "b"}


def test_an_import_inside_a_function_that_ran_during_an_import_counts(project: Project) -> None:
    module = project.load("a", f"def f():\n    {imports('b')}\nf()\n")
    project.load("b", "")
    assert module is not None
    module.unit.blocks.add(0)

    assert project.closure("a") == {"a", "b"}


def test_an_import_that_was_seen_but_not_written_counts(project: Project) -> None:
    module = project.load("a", "__import__('...')")
    project.load("b", "")
    assert module is not None
    module.unit.modules.add(f"{PREFIX}b.py")

    assert project.closure("a") == {"a", "b"}


def test_a_module_loaded_out_of_sight_stands_for_its_whole_content(project: Project) -> None:
    project.load("a", imports("hidden"))
    project.load("hidden", f"def f():\n    {imports('deep')}", seen=False)
    project.load("deep", "", seen=False)

    assert project.closure("a") == {"a", "hidden", "deep"}
    assert {module.name for module in project.modules.by_number if module.coarse} == {
        f"{PREFIX}hidden",
        f"{PREFIX}deep",
    }


def test_what_ran_and_was_read_during_an_import_belongs_to_whoever_imports(project: Project) -> None:
    project.load("a", imports("b"))
    module = project.load("b", "")
    assert module is not None
    module.unit.ran_elsewhere.add(3)
    module.unit.inputs.add("file:tax.json")
    module.unit.spoil("connects to x")

    touched = project.modules.touched(Unit("a test"), (), [f"{PREFIX}a.py"])
    assert 3 in touched.blocks
    assert touched.inputs == {"file:tax.json"}
    assert touched.untracked == "connects to x"


def test_imports_from_elsewhere_are_named_by_their_top_level_there_or_not(project: Project) -> None:
    project.load("a", "import json.decoder\nfrom xml.dom import minidom\nimport not_there\n")
    touched = project.modules.touched(Unit("a test"), (), [f"{PREFIX}a.py"])

    assert project.modules.imported(touched) == {"json", "xml", "not_there"}


@pytest.mark.parametrize(("second", "coarse"), [("x = 1\n", False), ("x = 2\n", True)])
def test_a_module_loaded_again_with_other_content_is_coarse(project: Project, second: str, coarse: bool) -> None:
    first = project.load("a", "x = 1\n")
    again = project.load("a", second)

    assert first is not None
    assert again is not None
    assert again.coarse is coarse
    assert first.unit in again.unit.parts


def test_imports_may_lead_elsewhere_only_when_a_module_of_the_project_comes_goes_or_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = {"/p/shop/__init__.py": "shop/__init__.py", "/p/shop/cart.py": "shop/cart.py", "/p/old.py": "old.py"}
    resolver = Resolver(paths.get, lambda _: False)

    def load(name: str, file: str | None) -> None:
        module = ModuleType(name)
        module.__file__ = file
        monkeypatch.setitem(sys.modules, name, module)

    def unload(name: str) -> None:
        monkeypatch.delitem(sys.modules, name)

    load("shop", "/p/shop/__init__.py")
    resolver.look()
    assert not resolver.look()
    load("like_the_standard_library", "/usr/lib/some.py")
    assert not resolver.look()
    load("shop.cart", "/p/shop/cart.py")
    assert resolver.look()
    load("shop.cart", "/p/shop/cart.py")  # executed again
    assert not resolver.look()
    unload("like_the_standard_library")
    assert not resolver.look()
    load("shop.made", None)  # no file of its own, but `from shop import made` finds it now
    assert resolver.look()
    load("shop.cart", "/p/old.py")
    assert resolver.look()
    unload("shop.cart")
    assert resolver.look()
    assert resolver.loaded == {"shop/__init__.py"}
