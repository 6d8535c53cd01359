"""What a source file is cut into, and which edits show where."""

from __future__ import annotations

import ast
import random
import sys
import sysconfig
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_perfcache.facts.source import (
    Analysis,
    analyse,
    changed_bindings,
    changed_values,
)
from pytest_perfcache.model import defaults_of, enclosing_name
from pytest_perfcache.trace.codes import is_function, nested

STDLIB = Path(sysconfig.get_path("stdlib"))
MODULES = [
    "argparse.py dataclasses.py functools.py enum.py typing.py contextlib.py collections/__init__.py".split(),
    "asyncio/tasks.py asyncio/base_events.py json/decoder.py email/message.py inspect.py".split(),
    "unittest/mock.py concurrent/futures/thread.py http/client.py pathlib.py logging/__init__.py".split(),
]
FILES = [STDLIB / name for group in MODULES for name in group if (STDLIB / name).is_file()]

CART = '''
"""A cart."""
import json
from decimal import Decimal

RATE = Decimal("0.2")

def tax(amount, rate=RATE):
    """What the state takes."""
    return amount * rate

class Cart:
    limit = 10

    def __init__(self, items=()):
        self.items = list(items)

    @property
    def total(self):
        def price(item):
            return item.price
        return sum(price(item) for item in self.items)

    @total.setter
    def total(self, value):
        raise AttributeError(value)

    def test_total(self):
        assert self.total == 0

async def load(path):
    with open(path) as file:
        return json.load(file)
'''


def cut(text: str) -> Analysis:
    found = analyse(text.encode())
    assert found is not None
    return found


def edit(old: str, new: str) -> set[str]:
    """What of the cart's module is different after an edit: ``skeleton``, ``block NAME``, ``binding``, ``value``."""
    assert CART.count(old) == 1, old
    before, after = cut(CART), cut(CART.replace(old, new))
    found = {f"binding {name}" for name in changed_bindings(before, after)}
    names = before.values.keys() | after.values.keys()
    found |= {f"value {name}" for name in names if before.values.get(name) != after.values.get(name)}
    found |= {
        f"block {name}"
        for name in before.blocks.keys() | after.blocks.keys()
        if before.blocks.get(name) != after.blocks.get(name)
    }
    return found | ({"skeleton"} if before.skeleton != after.skeleton else set())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = Decimal", "# the rate\n\n\nRATE   =   Decimal"),
        ("return amount * rate", "return (amount *\n        rate)  # rounded later"),
        ('Decimal("0.2")', "Decimal('0.2')"),
        ("limit = 10", "limit = 0xA"),
        ("    def __init__", "\n\n    # made of items\n    def __init__"),
        ("items=()", "items=( )"),
        ("async def load(path):", "async def load(\n    path,\n):"),
    ],
)
def test_comments_blank_lines_and_formatting_change_nothing(old: str, new: str) -> None:
    assert edit(old, new) == set()


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ('Decimal("0.2")', 'Decimal("0.3")', {"skeleton"}),
        ("limit = 10", "limit = 11", {"value Cart.limit"}),
        ("limit = 10", "limit = (1, 'a', -2.0, {None: [b'']})", {"value Cart.limit"}),
        ("limit = 10", "limit = {[]}", {"value Cart.limit", "skeleton"}),
        ("limit = 10", "limit = 5 + 2 * 3 - 1", {"value Cart.limit"}),
        ("limit = 10", "limit = 5 / 0", {"value Cart.limit", "skeleton"}),
        ("limit = 10", "bound = 10", {"value Cart.limit", "value Cart.bound", "skeleton"}),
        ("limit = 10", "limit: int = 10", {"skeleton"}),
        ('"""A cart."""', '"""The cart."""', {"skeleton"}),
        ("class Cart:", "class Cart(dict):", {"skeleton"}),
        ("class Cart:", "class Cart(metaclass=Meta):", {"skeleton", "value Cart.limit"}),
        ("import json", "import json, re", {"skeleton"}),
        ("return amount * rate", "return amount + rate", {"block tax"}),
        ("amount, rate=RATE", "amount, rate=None", {"block tax", "binding tax", "value tax()"}),
        ("amount, rate=RATE", "amount, rate: int = RATE", {"block tax", "binding tax"}),
        ("amount, rate=RATE", "amount, *, rate=RATE", {"block tax", "binding tax"}),
        ("What the state takes.", "What it takes.", {"block tax", "binding tax"}),
        ("def tax(", "def toll(", {"block tax", "block toll", "binding tax", "binding toll"}),
        ("def tax(", "@cache\ndef tax(", {"block tax", "binding tax", "skeleton"}),
        ("list(items)", "tuple(items)", {"block Cart.__init__"}),
        ("items=()", "items=None", {"block Cart.__init__", "value Cart.__init__()"}),
        ("items=()", "items", {"block Cart.__init__", "value Cart.__init__()", "skeleton"}),
        ("items=()", "things=()", {"block Cart.__init__", "skeleton"}),
        ("raise AttributeError(value)", "raise TypeError(value)", {"block Cart.total"}),
        ("assert self.total == 0", "assert not self.total", {"block Cart.test_total"}),
        ("def test_total(self)", "def test_total(self, x)", {"block Cart.test_total", "binding Cart.test_total"}),
        ("json.load(file)", "json.loads(file)", {"block load"}),
        ("async def load", "def load", {"block load", "binding load"}),
    ],
)
def test_an_edit_shows_where_it_is_and_nowhere_else(old: str, new: str, changed: set[str]) -> None:
    assert edit(old, new) == changed


def test_a_change_inside_a_nested_function_is_one_of_both() -> None:
    """Whoever ran the outer function may have kept the inner one for later."""
    found = edit("return item.price", "return 2 * item.price")

    assert "block Cart.total.<locals>.price" in found
    assert "skeleton" not in found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("global a", "global b"),
        ("match x:\n        case C(a=1): pass", "match x:\n        case C(b=1): pass"),
        ("return {**x}", "return {x: x}"),
        ("return 1", "return 1.0"),
        ("return 1", "return True"),
        ("return b'x'", "return 'x'"),
        ("return f'{x}'", "return f'{x!r}'"),
        ("return x.a", "return x.b"),
        ("return x < y", "return x <= y"),
        ("return [x, y]", "return [x], y"),
        ("yield x", "yield from x"),
        ("async with x: pass", "with x: pass"),
        ("from . import a", "from .. import a"),
    ],
)
def test_edits_of_every_sort_in_a_body_show(one: str, other: str) -> None:
    before, after = cut(f"async def f(x, y):\n    {one}\n"), cut(f"async def f(x, y):\n    {other}\n")

    assert before.blocks != after.blocks


def test_a_function_mentions_itself() -> None:
    """So that it is asked again when a test of the same name appears in a class before it."""
    assert "<test_a" in cut("class C:\n    def test_a(self): ...\n").mentions["C.test_a"]


def test_moved_functions_keep_their_blocks() -> None:
    one, two = "def a():\n    return 1\n", "def b():\n    return 2\n"

    assert cut(one + two) == cut(two + one)


def test_a_new_function_leaves_the_skeleton_alone_and_is_named() -> None:
    before, after = cut(CART), cut(CART + "\ndef helper():\n    return 1\n")

    assert before.skeleton == after.skeleton
    assert changed_bindings(before, after) == {"helper"}


@pytest.mark.parametrize(
    "definition",
    [
        "def __getattr__(name): ...",
        "def pytest_configure(config): ...",
        "def setup_module(): ...",
        "def print(*args): ...",
        "def RATE(): ...",
        "@decorated\ndef helper(): ...",
        "def helper(x=compute()): ...",
        "def helper(x: unknown): ...",
        "@pytest.fixture(autouse=True)\ndef helper(): ...",
        "@pytest.fixture(name='other')\ndef helper(): ...",
    ],
)
def test_a_new_function_that_does_more_than_bind_a_name_is_in_the_skeleton(definition: str) -> None:
    assert cut(CART).skeleton != cut(f"{CART}\n{definition}\n").skeleton


@pytest.mark.parametrize("decorator", ["@pytest.fixture", "@pytest.fixture(scope='module')", "@pytest.mark.slow"])
def test_pytests_own_decorators_only_bind_a_name(decorator: str) -> None:
    assert cut(CART).skeleton == cut(f"{CART}\n{decorator}\ndef helper(): ...\n").skeleton


def test_a_name_bound_twice_is_in_the_skeleton() -> None:
    once, twice = "def f():\n    return 1\n", "def f():\n    return 1\nif X:\n    def f():\n        return 2\n"

    assert "f" in cut(once).bindings
    assert "f" not in cut(twice).bindings


def reindented(text: str) -> str:
    return ast.unparse(ast.parse(text))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_writing_a_real_module_anew_from_its_tree_changes_nothing(file: Path) -> None:
    source = file.read_text("utf-8")

    assert cut(source) == cut(reindented(source))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
def test_comments_and_blank_lines_anywhere_in_a_real_module_change_nothing(seed: int) -> None:
    draw = random.Random(seed)
    lines = reindented(draw.choice(FILES[:8]).read_text("utf-8")).splitlines()
    tree = ast.parse("\n".join(lines))
    starts = sorted(node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt))
    inside = {
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for number in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)
    }
    before = cut("\n".join(lines))
    for line in sorted(draw.sample(starts, 20), reverse=True):
        if line not in inside:
            lines.insert(line - 1, draw.choice(["", "# a remark", "            # far right"]))

    assert cut("\n".join(lines)) == before


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_a_new_statement_in_one_function_changes_the_blocks_around_it_and_nothing_else(seed: int) -> None:
    draw = random.Random(seed)
    text = draw.choice(FILES[:8]).read_text("utf-8")
    before, tree = cut(text), ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    chosen = draw.choice(functions)
    chosen.body.append(ast.parse("an_unheard_of_name").body[0])
    after = cut(ast.unparse(ast.fix_missing_locations(tree)))

    changed = {name for name in before.blocks if before.blocks[name] != after.blocks[name]}
    assert before.blocks.keys() == after.blocks.keys()
    assert (after.skeleton, after.bindings) == (before.skeleton, before.bindings)
    assert chosen.name in {name.rpartition(".")[2] for name in changed}
    shortest = min(changed, key=len)
    assert all(name.startswith(f"{shortest}.<locals>.") for name in changed - {shortest})


def functions_in(code: CodeType) -> set[str]:
    found = {inner.co_qualname for inner in nested(code) if is_function(inner)}
    return found.union(*map(functions_in, nested(code)))


def compiled(text: str) -> CodeType:
    return compile(text, "<text>", "exec", dont_inherit=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_function_that_can_run_in_a_real_module_belongs_to_a_block_or_the_skeleton(file: Path) -> None:
    text = file.read_text("utf-8")
    analysis = cut(text)

    assert {name for name in functions_in(compiled(text)) if analysis.block_of(name) is None} == set()


@pytest.mark.parametrize(
    ("text", "qualname", "block"),
    [
        ("key = lambda x: x", "<lambda>", ""),
        ("def f():\n    return lambda x: x", "f.<locals>.<lambda>", "f"),
        ("class C:\n    key = lambda x: x", "C.<lambda>", ""),
        ("class C:\n    def m(self):\n        return (x for x in self)", "C.m.<locals>.<genexpr>", "C.m"),
        ("def f():\n    class C:\n        key = lambda x: x", "f.<locals>.C.<lambda>", "f"),
        ("def f():\n    class C:\n        def m(self): ...", "f.<locals>.C.m", "f.<locals>.C.m"),
        ("def f():\n    def g():\n        def h(): ...", "f.<locals>.g.<locals>.h", "f.<locals>.g.<locals>.h"),
        ("def f():\n    global g\n    def g(): ...", "g", "g"),
        ("def f():\n    global C\n    class C:\n        def m(self): ...", "C.m", "C.m"),
        ("class C:\n    class D:\n        def m(self): ...", "C.D.m", "C.D.m"),
        ("class C:\n    class D:\n        pass", "C.D", ""),
        ("if X:\n    def f(): ...", "f", "f"),
        ("def f(): ...", "g", None),
        ("def f(): ...", "f.<locals>.g", None),
    ],
)
def test_code_belongs_to_the_named_function_around_it(text: str, qualname: str, block: str | None) -> None:
    assert cut(text).block_of(qualname) == block


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X = 1", "X = 2"),
        ("X = 'a'", "X = None"),
        ("X: int = 1", "X: int = 2"),
        ("X = -1", "X = 1.5e3"),
        ("X = (1, [2], {3}, {4: 5})", "X = ()"),
        ("X = frozenset(['a', 'b'])", "X = frozenset(['a', 'c'])"),
        ("X = {A: 'a', 'b': B}", "X = {A: 'c', 'd': B}"),
        ("X = t.TypeVar('X', bound=A)", "X = t.TypeVar('Y', bound=A)"),
        ("class C:\n    X = 1", "class C:\n    X = 2"),
        ("class C(A):\n    class D:\n        X: int = 1", "class C(A):\n    class D:\n        X: int = 2"),
        ("X = 1 + 1", "X = 1 + 2"),
        ("X = f'{a} 1'", "X = f'{a} 2'"),
        ("import sys\nX = sys.version_info >= (3, 8)", "import sys\nX = sys.version_info >= (3, 9)"),
        ("import typing as t\nX = t.cast('A', a)", "import typing as t\nX = t.cast('B', a)"),
        ("from typing import cast\nX = cast('A', 1)", "from typing import cast\nX = cast('A', 2)"),
        ("A = frozenset(b)\nX = A | {'a', 'b'}", "A = frozenset(b)\nX = A | {'a', 'c'}"),
        ("X = {1} | frozenset(['a']) - {b}", "X = {1} | frozenset(['c']) - {b}"),
    ],
)
def test_another_literal_leaves_the_skeleton_alone_and_is_named(old: str, new: str) -> None:
    before, after = cut(old), cut(new)

    assert before.skeleton == after.skeleton
    assert len(changed_values(before, after)) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X = 1", "Y = 1"),
        ("X = 1", "X = f(1)"),
        ("X = f(1)", "X = f(2)"),
        ("X = 'a' * 1", "X = 'a' * 2"),
        ("X = 1 << 2", "X = 1 << 3"),
        ("X = A | {'a'}", "X = A | {'b'}"),
        ("A = frozenset(b)\nA = c\nX = A | {'a'}", "A = frozenset(b)\nA = c\nX = A | {'b'}"),
        ("X = {a} | {'a'} + {1}", "X = {a} | {'b'} + {1}"),
        ("X = a[1]", "X = a[2]"),
        ("X = f'{a:1}'", "X = f'{a:2}'"),
        ("X = sys.version_info >= (3, 8)", "X = sys.version_info >= (3, 9)"),
        ("from a import cast\nX = cast('A', 1)", "from a import cast\nX = cast('B', 1)"),
        ("import typing as t\nX = t.cast(a, f(1))", "import typing as t\nX = t.cast(a, f(2))"),
        ("import sys\nX = sys.version_info >= (3, 8)", "import sys\nX = sys.version_info >= (3, 'a')"),
        ("import sys\nX = sys.version_info >= (3, 8, 0, 1)", "import sys\nX = sys.version_info >= (3, 8, 0, 2)"),
        ("X = {A: 1, **B}", "X = {A: 1, **C}"),
        ("X = frozenset(['a'])", "X = frozenset([1])"),
        ("X = frozenset([f('a')])", "X = frozenset([f('b')])"),
        ("def set(x): ...\nX = set(['a'])", "def set(x): ...\nX = set(['b'])"),
        ("X = {1: 2}", "X = {[]: 2}"),
        ("X = re.compile('a')", "X = re.compile('(')"),
        ("X = t.TypeVar('X', bound='A')", "X = t.TypeVar('X', bound='B')"),
        ("X = 1\nX = 2", "X = 1\nX = 3"),
        ("X = 1\nif a:\n    X = 2", "X = 3\nif a:\n    X = 2"),
        ("if a:\n    X = 1", "if a:\n    X = 2"),
        (
            "try:\n    import a\n    X = 1\nexcept ImportError:\n    pass",
            "try:\n    import a\n    X = 2\nexcept ImportError:\n    pass",
        ),
        ("X = Y = 1", "X = Y = 2"),
        ("X, Y = 1, 2", "X, Y = 1, 3"),
        ("X.y = 1", "X.y = 2"),
        ("X += 1", "X += 2"),
        ("__all__ = ['a']", "__all__ = ['b']"),
        ("__match_args__ = '1'", "__match_args__ = '2'"),
        ("pytest_plugins = ['a']", "pytest_plugins = ['b']"),
        ("collect_ignore = ['a']", "collect_ignore = ['b']"),
        ("t_PLUS = 'a'", "t_PLUS = 'b'"),
        ("@a\nclass C:\n    X = 1", "@a\nclass C:\n    X = 2"),
        ("class C(metaclass=A):\n    X = 1", "class C(metaclass=A):\n    X = 2"),
        ("class C:\n    __slots__ = ('a',)", "class C:\n    __slots__ = ('b',)"),
        (
            "class C:\n    def __init_subclass__(cls): ...\n    X = 1",
            "class C:\n    def __init_subclass__(cls): ...\n    X = 2",
        ),
        ("class C:\n    def f(self, x=a(1)): ...", "class C:\n    def f(self, x=a(2)): ..."),
        ("if a:\n    def f(x=1): ...", "if a:\n    def f(x=2): ..."),
        ("TYPE_CHECKING = a\nif TYPE_CHECKING:\n    b = 1", "TYPE_CHECKING = a\nif TYPE_CHECKING:\n    b = 2"),
        (
            "from a import TYPE_CHECKING\nif TYPE_CHECKING:\n    b = 1",
            "from a import TYPE_CHECKING\nif TYPE_CHECKING:\n    b = 2",
        ),
        (
            "import typing as t\nt = a\nif t.TYPE_CHECKING:\n    b = 1",
            "import typing as t\nt = a\nif t.TYPE_CHECKING:\n    b = 2",
        ),
        (
            "import typing\nif not typing.TYPE_CHECKING:\n    b = 1",
            "import typing\nif not typing.TYPE_CHECKING:\n    b = 2",
        ),
    ],
)
def test_what_may_do_more_than_give_another_value_is_in_the_skeleton(old: str, new: str) -> None:
    assert cut(old).skeleton != cut(new).skeleton


@pytest.mark.parametrize(
    "start",
    [
        "from typing import Any, TYPE_CHECKING\nif TYPE_CHECKING:",
        "import typing\nif typing.TYPE_CHECKING:",
        "import re, typing as t\nclass C:\n  if t.TYPE_CHECKING:",
    ],
)
def test_what_only_type_checkers_read_is_in_no_skeleton(start: str) -> None:
    before = cut(f"{start}\n    import a\n    def f(): ...")
    after = cut(f"{start}\n    import b")

    assert before.skeleton == after.skeleton


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def f(x=1): return x", "def f(x=2): return x"),
        ("@a\ndef f(*, x=1): return x", "@a\ndef f(*, x=2): return x"),
        (
            "@a\nclass C:\n    @b\n    def f(self, x=1): return x",
            "@a\nclass C:\n    @b\n    def f(self, x=2): return x",
        ),
    ],
)
def test_another_default_is_in_the_block_and_stands_apart(old: str, new: str) -> None:
    before, after = cut(old), cut(new)

    assert before.skeleton == after.skeleton
    assert before.bindings == after.bindings
    assert not changed_values(before, after)
    (name,) = before.blocks
    assert before.blocks[name] != after.blocks[name]
    assert before.values[defaults_of(name)] != after.values[defaults_of(name)]


@pytest.mark.parametrize("body", ["...", "pass", '"""What it would do."""', "'a'; pass"])
def test_a_function_that_does_nothing_does_nothing_with_a_default(body: str) -> None:
    before, after = cut(f"def f(x=1): {body}"), cut(f"def f(x=2): {body}")

    assert before.blocks == after.blocks
    assert before.values != after.values


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with 3.12")
@pytest.mark.parametrize(
    "text",
    [
        "def f[T: (int, str)](x: T) -> T:\n    return x",
        "class C[T]:\n    def m[S](self, x: S) -> T: ...\n    class D[U]:\n        def n(self): ...",
        "type A[T: int] = list[T]\ndef f(x: A): ...",
        "async def f[**P](x): return [y async for y in x]",
    ],
)
def test_generic_code_belongs_to_a_block_or_the_skeleton(text: str) -> None:
    analysis = cut(text)

    assert [name for name in functions_in(compiled(text)) if analysis.block_of(name) is None] == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with 3.12")
def test_a_type_parameters_bound_is_part_of_the_signature() -> None:
    before, after = cut("def f[T: int](x: T): ..."), cut("def f[T: str](x: T): ...")

    assert changed_bindings(before, after) == {"f"}


@pytest.mark.parametrize(
    ("qualname", "name"),
    [
        ("Cart.total", "Cart.total"),
        ("Cart.total.<locals>.<lambda>", "Cart.total"),
        ("<lambda>", ""),
        ("f.<locals>.g.<locals>.<genexpr>.<lambda>", "f.<locals>.g"),
    ],
)
def test_the_named_scope_around_nameless_code(qualname: str, name: str) -> None:
    assert enclosing_name(qualname) == name


@pytest.mark.parametrize("content", [b"def f(:", b"\0", b"# -*- coding: nonsense -*-\n", b"x = " + b"(" * 5000])
def test_what_is_not_python_is_no_analysis(content: bytes) -> None:
    assert analyse(content) is None


def test_an_empty_module_is_one() -> None:
    assert cut("").blocks == {}


def test_the_encoding_of_the_file_counts_not_its_bytes() -> None:
    latin = '# -*- coding: latin-1 -*-\nNAME = "é"\n'

    assert analyse(latin.encode("latin-1")) == analyse(latin.replace("latin-1", "utf-8").encode())
