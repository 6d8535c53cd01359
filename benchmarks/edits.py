"""Edits that change a function's or a module's code and nothing that a test can see."""

from __future__ import annotations

import ast
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
PROBE = "_perfcache_probe = None"
CONSTANT = "_PERFCACHE_CONSTANT"


@dataclass(frozen=True, slots=True)
class Function:
    """A function in a source text: `first_line` counts from 1, decorators included (as `co_firstlineno`).

    `insert_line` and `indent` say where the first statement after the docstring stands.
    """

    qualname: str
    first_line: int
    insert_line: int
    indent: int


def functions(source: str) -> Iterator[Function]:
    """Every function whose body starts on a line of its own."""
    for qualname, node in named_functions(ast.parse(source)):
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        if not body:
            continue
        first = body[0]
        line = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", ()))])
        if line > node.lineno and source.splitlines()[line - 1][: first.col_offset].strip() == "":
            yield Function(qualname, first_line(node), line, first.col_offset)


def first_line(node: FunctionNode) -> int:
    """The line of the first decorator, or of `def`."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def named_functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, FunctionNode]]:
    """All functions below a node with their qualified names as Python forms them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, FunctionNode):
            yield prefix + node.name, node
            yield from named_functions(node, f"{prefix}{node.name}.<locals>.")
        elif isinstance(node, ast.ClassDef):
            yield from named_functions(node, f"{prefix}{node.name}.")
        else:
            yield from named_functions(node, prefix)


def with_probe(source: str, function: Function) -> str:
    """The source with one neutral statement more at the start of a function's body."""
    lines = source.splitlines(keepends=True)
    lines.insert(function.insert_line - 1, f"{' ' * function.indent}{PROBE}\n")
    return "".join(lines)


def with_constant(source: str, value: int) -> str:
    """The source with a module constant that nothing uses, at its end; an earlier one is replaced."""
    body = source.split(f"\n{CONSTANT} = ", maxsplit=1)[0].rstrip("\n")
    return f"{body}\n\n{CONSTANT} = {value}\n"


@contextmanager
def edited(path: Path, content: bytes) -> Iterator[None]:
    """Give a file another content for a while; then restore its bytes and its modification time.

    Bytecode of the file is removed both times: an edit in the same second and of the same size would else go
    unseen by the import system itself, in plain runs too.
    """
    before, status = path.read_bytes(), path.stat()
    path.write_bytes(content)
    remove_bytecode(path)
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        remove_bytecode(path)


def remove_bytecode(path: Path) -> None:
    """Remove what Python and pytest cached for a source file."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.py[co]"):
        compiled.unlink()
