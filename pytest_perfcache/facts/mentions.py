"""What a piece of code could look up: the names that stand in it, and the ways to reach others by computed names.

The mentions of a scope (a function, or the skeleton) are a set of texts. An identifier by itself is a name that the
code uses. The other sorts are marked by their first character:

=========  ============================================================================================
``<name``  taken over by ``from ... import name``, listed in ``__all__``, defined here, or an argument's name: known,
           but what it stands for elsewhere is not used
``$name``  like a name alone, but no import statement binds it, so that it is one of this module's own
``:name``  stands in the annotation of a function that has no decorator; ``f:name`` in that of ``f``, or of a method
           of a class ``f``
``@a.b``   a module or package that is used as a value, or a text that could be its name
``~word``  a word of a longer text
``^name``  part of an import statement's path
=========  ============================================================================================
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from pytest_perfcache.facts.texts import DOCTEST, examples_in, mentions_in_text

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

ANYTHING: Final = "*"
"""Stands for every attribute, in the mentions of code that looks names up by a computed text."""
ANY_GLOBAL: Final = "**"
"""Stands for what any module holds: the code can get hold of a module without naming it."""
SIGNATURES: Final = "*()"
"""Stands for the signature of every function: the code looks at signatures or annotations."""
OWN_MODULE: Final = "@"
"""The code gives away the name of its own module."""
ANY_IMPORT: Final = "<*"
"""The code takes over whatever another module holds."""

_GLOBAL: Final = frozenset(
    "f_globals get_objects getmodule __globals__ load_module module_from_spec __package__ run_module run_path".split()
)
"""Ways to a module that is not named."""
_BUILTINS: Final = frozenset("dir eval exec globals locals vars".split())
_NOSY: Final = frozenset(("fire", "ply"))
"""Libraries that look at the module they are called from."""
_IMPORTERS: Final = frozenset(("import_module", "__import__", "modules"))
_REFLECTIVE: Final = frozenset(
    "attrgetter __dict__ f_locals __getattribute__ getattr_static getmembers __subclasses__".split()
)
_BY_NAME: Final = frozenset(("getattr", "hasattr", "setattr", "delattr"))
_SIGNATURES: Final = frozenset(
    """
    __annotations__ autospec create_autospec __defaults__ get_annotations get_type_hints getargspec getcallargs
    getfullargspec __kwdefaults__ pydoc render_doc __signature__ signature
    """.split()
)
_SIEVED: Final = _GLOBAL | _BUILTINS | _NOSY | _IMPORTERS | _REFLECTIVE | _BY_NAME | _SIGNATURES
_REFLECTIVE_TEXT: Final = re.compile(rb"\b(?:%s|__module__|help)\b|import\s*\*" % "|".join(sorted(_SIEVED)).encode())
_OF_MODULES: Final = frozenset("__dict__ __file__ __loader__ __name__ __package__ __path__ __spec__".split())
"""Attributes through which others can get at the whole module."""
_OWN_NAME: Final = frozenset(("__name__", "__spec__", "__loader__", "__path__"))
_LOGGERS: Final = frozenset(("getLogger", "get_logger"))


@dataclass(slots=True)
class Context:
    """Where the nodes of a tree stand, as far as it matters to what they mention."""

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
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                context.parents[id(child)] = node
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
                self.dead.update(id(child) for statement in body for child in ast.walk(statement))
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
            self.quiet.update(map(id, ast.walk(node)))

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
        if any(isinstance(node, ast.arg) and node.arg == name for node in ast.walk(function.args)):
            return True
        stored = (n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        return any(n.id == name and self.function_around(n) is function for n in stored)

    def own(self, node: ast.AST) -> str:
        """The mark of a name that the module itself, or a function in it, binds; empty for any other."""
        foreign = not isinstance(node, ast.Name) or node.id in self.imported or "*" in self.imported
        return "" if foreign else "$"

    def is_value(self, node: ast.AST) -> bool:
        return id(node) not in self.quiet and isinstance(getattr(node, "ctx", None), ast.Load)


def mentions_of(node: ast.AST, context: Context) -> Iterator[str]:
    """What this one node mentions, without its children."""
    if id(node) in context.dead:
        return
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield context.own(node) + name
            yield from _reflective(node, name, context)
            if context.is_value(node):
                yield from _module_given(node, name, context)
        case ast.Constant(value=str(text)):
            if id(node) in context.exported:
                yield f"<{text}"
            elif id(node) not in context.docstrings:
                yield from (_in_examples(text, context) if id(node) in context.examples else mentions_in_text(text))
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from _imported(node, names)
        case ast.keyword(arg=str(name)) | ast.arg(arg=name):
            yield f"<{name}"
            if name in _SIGNATURES:
                yield SIGNATURES
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from (f"${name}" for name in names)
        case ast.MatchClass(kwd_attrs=names):
            yield from names
        case _:
            return


def _reflective(node: ast.Name | ast.Attribute, name: str, context: Context) -> Iterator[str]:
    """Ways to more than what is named."""
    if name in _OF_MODULES and isinstance(node, ast.Attribute):
        yield from _module(node.value, context)
    if name in _SIGNATURES or (name == "help" and isinstance(node, ast.Name) and context.call_of(node)):
        yield SIGNATURES
    elif name in _REFLECTIVE or (name in _BY_NAME and not _is_call_by_constant(node, context)):
        yield ANYTHING
    elif name in _GLOBAL or (name in _IMPORTERS and not _only_asked_by_name(node, context)):
        yield from (ANYTHING, ANY_GLOBAL)
    elif name in _BUILTINS and isinstance(node.ctx, ast.Load) and context.is_builtin(node):
        yield ANYTHING
        if _reads_globals(node, name, context):
            yield ANY_GLOBAL
    elif name == "__module__":
        if not _is_harmless_module(node, context):
            yield ANY_GLOBAL
    elif name in _OWN_NAME and isinstance(node, ast.Name) and not _is_harmless_name(node, context):
        yield OWN_MODULE


def _is_call_by_constant(node: ast.AST, context: Context) -> bool:
    match context.call_of(node):
        case ast.Call(args=[_, ast.Constant(), *_]):
            return True
        case _:
            return False


def _reads_globals(node: ast.AST, name: str, context: Context) -> bool:
    """Whether a builtin is used such that it may give the names of a module, or is given away."""
    match context.call_of(node), name:
        case None, _:
            return True
        case ast.Call(args=args), "eval" | "exec":
            return len(args) < 2
        case ast.Call(args=args), "vars" | "dir" | "locals":
            return not args and context.function_around(node) is None
        case _:
            return True


def _is_harmless_module(node: ast.Name | ast.Attribute, context: Context) -> bool:
    """A module's name that is stored, compared, handed to another class, or the start of the name of one."""
    if not isinstance(node.ctx, ast.Load):
        return True
    parent = context.parents.get(id(node))
    match parent:
        case ast.Compare() | ast.Assign(targets=[ast.Attribute(attr="__module__")]):
            return True
        case ast.FormattedValue():
            text = context.parents.get(id(parent))
            parts = text.values if isinstance(text, ast.JoinedStr) else []
            return len(parts) > 1 and not any(_names_a_submodule(part) for part in parts)
        case _:
            return False


def _names_a_submodule(part: ast.expr) -> bool:
    match part:
        case ast.Constant(value=str(text)):
            return re.match(r"\.\w", text) is not None
        case _:
            return False


def _is_harmless_name(node: ast.AST, context: Context) -> bool:
    """``__name__ == "__main__"`` and ``logging.getLogger(__name__)`` lead nobody to the module."""
    match context.parents.get(id(node)):
        case ast.Compare(comparators=[ast.Constant()]):
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _LOGGERS
        case _:
            return False


def _only_asked_by_name(node: ast.AST, context: Context) -> bool:
    """Whether a module that is got by a computed name is only asked for attributes whose names stand there."""
    found = _module_expression(node, context)
    if found is None:
        return False
    if found is node or _is_asked(found, context):
        return True
    match context.parents.get(id(found)):
        case ast.Assign(targets=[ast.Name(id=variable)]) as assignment:
            around = context.function_around(assignment)
            if around is None:
                return False
            loads = (n for n in ast.walk(around) if isinstance(n, ast.Name) and n.id == variable)
            return all(not isinstance(n.ctx, ast.Load) or _is_asked(n, context) for n in loads)
        case _:
            return False


def _module_expression(node: ast.AST, context: Context) -> ast.AST | None:
    """The expression that gives a module: ``sys.modules[x]``, ``sys.modules.get(x)``, ``import_module(x)``.

    The node itself where it gives none, as in ``x in sys.modules``; None where anything may happen to it.
    """
    parent = context.parents.get(id(node))
    match parent:
        case ast.Call(func=function) if function is node:
            return parent
        case ast.Subscript(value=value, ctx=ctx) if value is node:
            return parent if isinstance(ctx, ast.Load) else node
        case ast.Compare(comparators=[value]) if value is node:
            return node
        case ast.Attribute(attr="get" | "pop" | "setdefault"):
            call = context.parents.get(id(parent))
            return call if isinstance(call, ast.Call) and call.func is parent else None
        case ast.alias():
            return node
        case _:
            return None


def _is_asked(node: ast.AST, context: Context) -> bool:
    match context.parents.get(id(node)):
        case ast.Attribute(attr=name):
            return name not in _OF_MODULES or name == "__file__"
        case ast.Compare() | ast.Expr() | ast.BoolOp() | ast.If():
            return True
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[first, ast.Constant(value=name), *_]):
            return first is node and (name not in _OF_MODULES or name == "__file__")
        case _:
            return False


def _module_given(node: ast.AST, name: str, context: Context) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield from _module(node, context)
    elif context.root(node) in context.imported:
        yield f"@{name}"


def _module(node: ast.AST, context: Context) -> Iterator[str]:
    """The module that a name or attribute may stand for."""
    if isinstance(node, ast.Name) and node.id in context.imported:
        yield f"@{context.imported[node.id]}"
    elif isinstance(node, ast.Attribute) and context.root(node) in context.imported:
        yield f"@{node.attr}"


def _in_examples(text: str, context: Context) -> Iterator[str]:
    """The same of a docstring's examples, which run with the names of the module: as code, where it can be read."""
    try:
        tree = ast.parse(examples_in(text))
    except (SyntaxError, ValueError):
        yield from mentions_in_text(text)
        return
    inner = Context.of(tree)
    inner.imported = context.imported | inner.imported
    for node in ast.walk(tree):
        yield from mentions_of(node, inner)


def _imported(node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        if node.module == "__future__":
            return
        yield from _path(node.module or "")
    for alias in names:
        parts = alias.name.split(".")
        yield from _path(alias.name)
        if alias.name == "*":
            yield from (ANYTHING, ANY_IMPORT)
        elif isinstance(node, ast.ImportFrom) and alias.asname in (None, alias.name):
            yield f"<{alias.name}"
        else:
            yield from parts


def _path(dotted: str) -> Iterator[str]:
    parts = dotted.split(".")
    yield from (f"^{part}" for part in parts if part)
    if parts[0] in _NOSY:
        yield ANY_GLOBAL


def reflective_text(source: bytes) -> bool:
    """Whether a file's text leaves it possible that its code looks names up by computed texts: only a sieve."""
    return _REFLECTIVE_TEXT.search(source) is not None
