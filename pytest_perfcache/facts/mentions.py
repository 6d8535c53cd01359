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
from typing import Final

from pytest_perfcache.facts.context import Context
from pytest_perfcache.facts.texts import examples_in, mentions_in_text
from pytest_perfcache.facts.tree import walk

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
_NAMESPACES: Final = frozenset(("f_globals", "__globals__"))
"""Of modules that are not named, as dictionaries."""
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
_LEADING: Final = _SIEVED | _OF_MODULES | _OWN_NAME | {"help", "__module__"}
"""Names that may lead to more than what is named."""
MENTIONING: Final = frozenset(
    (
        ast.Attribute,
        ast.Constant,
        ast.Global,
        ast.Import,
        ast.ImportFrom,
        ast.MatchClass,
        ast.Name,
        ast.Nonlocal,
        ast.arg,
        ast.keyword,
    )
)
"""Nodes that may mention something."""
_LOGGERS: Final = frozenset(("getLogger", "get_logger"))


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
    if name not in _LEADING:
        return
    if name in _OF_MODULES and isinstance(node, ast.Attribute):
        yield from _module(node.value, context)
    if name in _SIGNATURES or (name == "help" and isinstance(node, ast.Name) and context.call_of(node)):
        yield SIGNATURES
    elif name in _REFLECTIVE or (name in _BY_NAME and not _is_call_by_constant(node, context)):
        yield ANYTHING
    elif name in _NAMESPACES and _only_asked_by_constant(node, context):
        return
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


def _only_asked_by_constant(node: ast.AST, context: Context) -> bool:
    """Whether a namespace is only asked for names that stand there: ``frame.f_globals.get("__file__")``."""
    parent = context.parents.get(id(node))
    match parent:
        case ast.Subscript(value=value, slice=ast.Constant(), ctx=ast.Load()):
            return value is node
        case ast.Compare(left=ast.Constant(), ops=[ast.In() | ast.NotIn()], comparators=[value]):
            return value is node
        case ast.Attribute(attr="get"):
            return _is_call_by_constant_first(parent, context)
        case _:
            return False


def _is_call_by_constant_first(node: ast.AST, context: Context) -> bool:
    call = context.call_of(node)
    return call is not None and bool(call.args) and isinstance(call.args[0], ast.Constant)


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
            loads = (n for n in walk(around) if isinstance(n, ast.Name) and n.id == variable)
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
    for node in walk(tree):
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
