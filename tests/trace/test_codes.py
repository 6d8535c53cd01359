"""Import statements as the bytecode has them, against the syntax tree."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from pytest_perfcache.trace.codes import Codes, ImportSpec, import_statements, is_function, nested

STDLIB = Path(sysconfig.get_path("stdlib"))
FILES = sorted(file for file in STDLIB.rglob("*.py") if not {"test", "site-packages", "lib2to3"} & set(file.parts))[::9]


def everywhere(code: CodeType) -> Iterator[ImportSpec]:
    yield from import_statements(code)
    for inner in nested(code):
        yield from everywhere(inner)


def as_written(tree: ast.AST) -> Iterator[ImportSpec]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (ImportSpec(0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield ImportSpec(node.level, node.module or "", tuple(alias.name for alias in node.names))


class _Alive(ast.NodeTransformer):
    """Leaves out what the compiler leaves out: the bodies of constant conditions, and what follows a jump."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node


def compiled(text: str | bytes) -> CodeType:
    return compile(text, "<text>", "exec", dont_inherit=True)


def test_import_statements_of_real_modules_are_those_of_their_syntax_tree() -> None:
    wrong = []
    for file in FILES:
        source = file.read_bytes()
        seen, written = set(everywhere(compiled(source))), set(as_written(_Alive().visit(ast.parse(source))))
        if seen != written:
            wrong.append((file.name, seen ^ written))

    assert len(FILES) > 40
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("import a", ImportSpec(0, "a", ())),
        ("import a.b.c as d", ImportSpec(0, "a.b.c", ())),
        ("from a import b as c, d", ImportSpec(0, "a", ("b", "d"))),
        ("from a import *", ImportSpec(0, "a", ("*",))),
        ("from . import b", ImportSpec(1, "", ("b",))),
        ("from ...a.b import c", ImportSpec(3, "a.b", ("c",))),
    ],
)
def test_each_form_of_import_is_read(text: str, spec: ImportSpec) -> None:
    assert list(import_statements(compiled(text))) == [spec]


def test_many_constants_before_an_import_do_not_hide_it() -> None:
    text = "".join(f"x{n} = 'text {n}'\n" for n in range(70_000)) + "from ..package import late\n"

    assert list(import_statements(compiled(text))) == [ImportSpec(2, "package", ("late",))]


def test_an_import_in_a_function_is_that_functions() -> None:
    code = compiled("def f():\n    import a\n    def g():\n        import b\n")
    function = next(nested(code))
    codes = Codes()
    number = codes.number("m.py", function)

    assert list(import_statements(code)) == []
    assert codes.imports[number] == (ImportSpec(0, "a", ()),)
    assert codes.importing == 1 << number


def test_a_function_has_one_number_however_often_it_is_loaded() -> None:
    codes = Codes()
    first, second = (next(nested(compiled("def f(): ..."))) for _ in range(2))

    assert codes.number("m.py", first) == codes.number("m.py", second) != codes.number("n.py", first)
    assert codes.names == [("m.py", "f"), ("n.py", "f")]


def test_only_code_that_is_called_is_a_function() -> None:
    text = "class C:\n    def m(self): ...\nk = lambda: 1\nl = [x for x in ()]\ng = (x for x in ())\n"
    found = {code.co_qualname for code in nested(compiled(text)) if is_function(code)}
    inner = {code.co_name for outer in nested(compiled(text)) for code in nested(outer) if is_function(code)}

    assert found == {"<lambda>", "<genexpr>"}
    assert inner == {"m"}
