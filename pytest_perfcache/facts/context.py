"""Where the nodes of a module's syntax tree stand, as far as it matters to what they mention."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Final

from pytest_perfcache.facts.texts import DOCTEST
from pytest_perfcache.facts.tree import FunctionNode, children_of, walk

_PLACED: Final = frozenset(
    (
        ast.AnnAssign,
        ast.Assign,
        ast.AsyncFunctionDef,
        ast.Attribute,
        ast.Call,
        ast.ClassDef,
        ast.ExceptHandler,
        ast.FunctionDef,
        ast.If,
        ast.Import,
        ast.ImportFrom,
        ast.Module,
        ast.arg,
    )
)
"""The nodes whose place matters to others."""


@dataclass(slots=True)
class Context:
    """Of one tree; nodes are known by identity."""

    parents: dict[int, ast.AST] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    """Names that import statements anywhere in the module bind → the last part of what they stand for."""
    quiet: set[int] = field(default_factory=set)
    """Names that are called, asked for an attribute, or compared with a type; and what has no effect."""
    docstrings: set[int] = field(default_factory=set)
    """Those without examples."""
    examples: set[int] = field(default_factory=set)
    """Docstrings with examples for doctest."""
    dead: set[int] = field(default_factory=set)
    """What stands under ``if TYPE_CHECKING`` and is never executed."""
    exported: set[int] = field(default_factory=set)
    """Texts in ``__all__``."""

    @classmethod
    def of(cls, tree: ast.Module) -> Context:
        context = cls()
        parents = context.parents
        for node in walk(tree):
            for child in children_of(node):
                parents[id(child)] = node
            if type(node) in _PLACED:
                context._place(node)
        return context

    def _place(self, node: ast.AST) -> None:
        match node:
            case ast.Attribute(value=value):
                self.quiet.add(id(value))
            case ast.Call(func=function, args=args):
                self.quiet.add(id(function))
                if isinstance(function, ast.Name) and function.id in ("isinstance", "issubclass"):
                    self._hush(*args[1:])
            case ast.ExceptHandler(type=ast.expr() as quiet):
                self._hush(quiet)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for alias in names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    self.imported[bound] = alias.name.rpartition(".")[2] if alias.asname else bound
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), body=body):
                self.dead.update(id(child) for statement in body for child in walk(statement))
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=texts) | ast.Tuple(elts=texts)):
                self.exported.update(map(id, texts))
            case _:
                pass
        if isinstance(node, ast.Module | ast.ClassDef | FunctionNode):
            self._docstring(node)
        annotation = node.returns if isinstance(node, FunctionNode) else getattr(node, "annotation", None)
        self._hush(*([] if annotation is None else [annotation]))
        if isinstance(node, ast.ClassDef):
            self._hush(*(base for base in node.bases if isinstance(base, ast.Name | ast.Attribute | ast.Subscript)))

    def _hush(self, *nodes: ast.AST) -> None:
        for node in nodes:
            self.quiet.update(map(id, walk(node)))

    def _docstring(self, node: ast.Module | ast.ClassDef | FunctionNode) -> None:
        match node.body[:1]:
            case [ast.Expr(value=ast.Constant(value=str(text)) as constant)]:
                (self.examples if DOCTEST in text else self.docstrings).add(id(constant))

    def root(self, node: ast.AST) -> str | None:
        """The name at the head of ``name.attribute.attribute``."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return node.id if isinstance(node, ast.Name) else None

    def call_of(self, node: ast.AST) -> ast.Call | None:
        """The call of which this node is the function."""
        call = self.parents.get(id(node))
        return call if isinstance(call, ast.Call) and call.func is node else None

    def function_around(self, node: ast.AST) -> FunctionNode | ast.Lambda | None:
        around = self.parents.get(id(node))
        while around is not None and not isinstance(around, FunctionNode | ast.Lambda):
            around = self.parents.get(id(around))
        return around

    def is_builtin(self, node: ast.Name | ast.Attribute) -> bool:
        """Whether a name may mean the builtin: no function around binds it, and it is no attribute of another thing."""
        if isinstance(node, ast.Attribute):
            base = self.root(node.value) or ""
            return self.imported.get(base, base).strip("_") == "builtins"
        around = self.function_around(node)
        while around is not None:
            if self._binds(around, node.id):
                return False
            around = self.function_around(around)
        return True

    def _binds(self, function: FunctionNode | ast.Lambda, name: str) -> bool:
        if any(isinstance(node, ast.arg) and node.arg == name for node in walk(function.args)):
            return True
        stored = (n for n in walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        return any(n.id == name and self.function_around(n) is function for n in stored)

    def own(self, node: ast.AST) -> str:
        """The mark of a name that the module itself, or a function in it, binds; empty for any other."""
        foreign = not isinstance(node, ast.Name) or node.id in self.imported or "*" in self.imported
        return "" if foreign else "$"

    def is_value(self, node: ast.AST) -> bool:
        return id(node) not in self.quiet and isinstance(getattr(node, "ctx", None), ast.Load)
