"""One-place changes of a source text or a data file, each likely to change what a test sees (pure)."""

from __future__ import annotations

import ast
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.edits import FunctionNode, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
DELETABLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Delete)


@dataclass(frozen=True, slots=True)
class Mutant:
    """Replace bytes `start:end` of the file at `path` (relative to the tree) by `text`.

    `function` is the first line of the innermost function around it, or None outside of bodies.
    """

    path: str
    kind: str
    line: int
    start: int
    end: int
    text: str
    function: int | None = None

    def apply(self, content: bytes) -> bytes:
        """The mutated content."""
        return content[: self.start] + self.text.encode() + content[self.end :]


class _Finder:
    """Walks a syntax tree and notes every mutant, with the kind of place that it is in."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.source = source
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts = starts
        self.found: list[Mutant] = []

    def note(self, kind: str, node: ast.expr | ast.stmt, text: str, function: int | None) -> None:
        """Note that a node may be replaced by a text; a node of several lines keeps its number of lines."""
        last = node.end_lineno or node.lineno
        start = self.starts[node.lineno - 1] + node.col_offset
        end = self.starts[last - 1] + (node.end_col_offset or 0)
        if last > node.lineno:
            if not isinstance(node, ast.stmt):
                return
            text += "\n" * (last - node.lineno)
        if self.source[start:end].decode(errors="replace") != text:
            self.found.append(Mutant(self.path, kind, node.lineno, start, end, text, function))

    def module(self, tree: ast.Module) -> None:
        """Everything in a module."""
        self.level(tree.body, "module constant", None)

    def level(self, body: Iterable[ast.stmt], kind: str, function: int | None) -> None:
        """Statements outside function bodies: constants in assigned values, and what is defined there."""
        for node in body:
            if isinstance(node, FunctionNode):
                self.function(node, function)
            elif isinstance(node, ast.ClassDef):
                self.level(node.body, "class attribute", function)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                if node.value is not None and not _is_dunder_all(node):
                    self.constants(node.value, kind, function)
            elif isinstance(node, ast.If | ast.Try | ast.With):
                self.level((n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)), kind, function)

    def function(self, node: FunctionNode, outer: int | None) -> None:
        """A function: its defaults belong to the place around it, the rest to its body."""
        for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)):
            self.constants(default, "default", outer)
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        for statement in body:
            self.statement(statement, first_line(node))

    def statement(self, node: ast.AST, function: int) -> None:
        """A node in a function body and all below it."""
        if isinstance(node, FunctionNode):
            self.function(node, function)
            return
        if isinstance(node, ast.ClassDef):
            self.level(node.body, "class attribute", function)
            return
        if isinstance(node, DELETABLE):
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                self.note("statement", node, "pass", function)
        elif isinstance(node, ast.Return):
            if node.value is not None:
                self.note("return", node, "return None", function)
        elif isinstance(node, ast.JoinedStr):
            return
        self.expression(node, function)
        for name, child in ast.iter_fields(node):
            if name in {"annotation", "returns"}:
                continue
            for part in child if isinstance(child, list) else [child]:
                if isinstance(part, ast.AST):
                    self.statement(part, function)

    def expression(self, node: ast.AST, function: int) -> None:
        """Operators and constants of one node."""
        if isinstance(node, ast.Compare):
            swapped = ast.Compare(node.left, [COMPARISONS[type(node.ops[0])](), *node.ops[1:]], node.comparators)
            self.note("comparison", node, f"({ast.unparse(swapped)})", function)
        elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            other = ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
            self.note("arithmetic", node, f"({ast.unparse(other)})", function)
        elif isinstance(node, ast.Constant):
            self.constant(node, "constant in body", function)

    def constants(self, node: ast.expr, kind: str, function: int | None) -> None:
        """Every constant of an expression that is evaluated in place, so not in a lambda or an f-string."""
        if isinstance(node, ast.Constant):
            self.constant(node, kind, function)
        elif not isinstance(node, ast.JoinedStr | ast.Lambda):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.constants(child, kind, function)
                elif isinstance(child, ast.keyword):
                    self.constants(child.value, kind, function)

    def constant(self, node: ast.Constant, kind: str, function: int | None) -> None:
        """Another value of the same type."""
        text = changed_constant(node.value)
        if text is not None:
            self.note(kind, node, text, function)


def changed_constant(value: object) -> str | None:
    """Python text for another value of the same type, or None for types that are left alone."""
    if isinstance(value, bool):
        return repr(not value)
    if isinstance(value, int | float):
        return f"({value!r} + 1)"
    if isinstance(value, str | bytes):
        return repr(value + (b"_" if isinstance(value, bytes) else "_"))  # type: ignore[operator]
    return "False" if value is None else None


def _is_dunder_all(node: ast.Assign | ast.AnnAssign) -> bool:
    names = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(name, ast.Name) and name.id == "__all__" for name in names)


def in_source(path: str, source: bytes) -> list[Mutant]:
    """All mutants of a source text that still compile."""
    finder = _Finder(path, source)
    finder.module(ast.parse(source))
    return [mutant for mutant in finder.found if _compiles(mutant.apply(source))]


def _compiles(source: bytes) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def in_data(path: str, content: bytes, seed: int) -> list[Mutant]:
    """One mutant of a data file: one of its letters or digits becomes another."""
    places = [place for place, byte in enumerate(content) if chr(byte).isalnum() and byte < 128]
    if not places:
        return []
    place = random.Random(f"{seed} {path}").choice(places)
    text = "7" if content[place : place + 1] != b"7" else "8"
    return [Mutant(path, "data file", content[:place].count(b"\n") + 1, place, place + 1, text)]


def sequence(found: Iterable[Mutant], seed: int, wanted: Callable[[Mutant], bool]) -> Iterator[Mutant]:
    """Mutants in a seeded order that takes each kind in turn, so that a longer run extends a shorter one."""
    kinds: dict[str, list[Mutant]] = {}
    for mutant in sorted(found, key=lambda mutant: (mutant.kind, mutant.path, mutant.start, mutant.text)):
        if wanted(mutant):
            kinds.setdefault(mutant.kind, []).append(mutant)
    for kind, mutants in kinds.items():
        random.Random(f"{seed} {kind}").shuffle(mutants)
    while kinds:
        for kind in list(kinds):
            yield kinds[kind].pop()
            if not kinds[kind]:
                del kinds[kind]
