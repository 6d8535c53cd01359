"""Which literals of a statement can change without any effect but another value under the same name.

The evaluation of a literal runs no code, and that of another literal in its place neither; so importing the module
does the same as before. That is not so where a literal is the argument of a call, but for a few calls that are known.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pytest_perfcache.facts.tree import FunctionNode, children_of, walk

_CONTAINERS: Final = frozenset(("frozenset", "list", "set", "tuple"))
_NAMED: Final = frozenset(("ContextVar", "NewType", "ParamSpec", "TypeVar", "intern"))
"""What takes its own name as the first argument and does nothing with it."""
_WRAPPERS: Final = frozenset(
    """
    abstractmethod asynccontextmanager cached_property classmethod contextmanager deleter final override overload
    property setter staticmethod
    """.split()
)
"""Decorators that do not look at the signature of what they decorate."""
_INSCRIPTIONS: Final = frozenset(
    """
    __author__ __build__ __contact__ __copyright__ __credits__ __date__ __description__ __docformat__ __email__
    __homepage__
    __license__ __maintainer__ __maintainer_email__ __status__ __summary__ __title__ __uri__ __url__ __version__
    __version_info__ __version_tuple__
    """.split()
)
"""Names that only look as if Python gave them a meaning."""
TYPE_CHECKING: Final = "typing.TYPE_CHECKING"
"""Is false when a module runs."""
_CAST: Final = "typing.cast"
_NUMBERS: Final = 3
"""At the start of ``sys.version_info``."""
_MEANT: Final = re.compile(r"pytest|collect_ignore|[pt]_")
"""Names that pytest and ply give a meaning."""


class Names(NamedTuple):
    """``bound``: what the module and its classes bind; ``sources``: see :func:`import_sources`; ``modules``: see
    :func:`modules`; ``sets``: see :func:`find_sets`."""

    bound: set[str]
    sources: Mapping[str, tuple[int, str, str]]
    modules: Mapping[str, str]
    sets: set[str]

    def full(self, node: ast.expr) -> str:
        """What a name, or an attribute of one, stands for by the imports of the module; empty where that is unknown."""
        return full_name(ast.unparse(node), self.sources, self.modules)


def leaves_of(value: ast.expr, names: Names) -> Iterator[tuple[ast.expr, str]]:
    """The literals that may change, each with what of them may not."""
    if _is_literal(value):
        yield value, "literal"
        return
    match value:
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for element in elements:
                yield from leaves_of(element, names)
        case ast.Dict(keys=keys, values=values):
            for element in (*(key for key in keys if isinstance(key, ast.Constant)), *values):
                yield from leaves_of(element, names)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if (
            name in _CONTAINERS and name not in names.bound
        ):
            for argument in args:
                yield from _of_same_type(argument)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[first, *_]) if name in _NAMED:
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first, "literal str"
        case _:
            yield from _operands(value, names)


def _operands(value: ast.expr, names: Names) -> Iterator[tuple[ast.expr, str]]:
    """The literals in f-strings, in casts, in sums of sets, and in comparisons with ``sys.version_info``."""
    match value:
        case ast.Call(func=function, args=[ast.Constant(value=str()) as kind, cast]) if names.full(function) == _CAST:
            yield kind, "literal str"
            yield from leaves_of(cast, names)
        case ast.BinOp() if _is_set(value, names):
            for operand in (value.left, value.right):
                yield from _of_same_type(operand) if isinstance(operand, ast.Set) else leaves_of(operand, names)
        case ast.JoinedStr(values=parts):
            yield from ((part, "literal str") for part in parts if isinstance(part, ast.Constant))
        case ast.Compare(
            left=ast.Attribute(value=ast.Name(id=name), attr="version_info"), comparators=[ast.Tuple(elts=elements)]
        ) if names.modules.get(name) == "sys":
            if len(elements) <= _NUMBERS and all(map(_sum_of_literals, elements)):
                yield from ((element, "literal int") for element in elements)
        case _:
            return


def _is_set(node: ast.expr, names: Names) -> bool:
    """Whether an expression gives one of Python's own sets."""
    match node:
        case ast.Set():
            return True
        case ast.Name(id=name):
            return name in names.sets
        case ast.Call(func=ast.Name(id="set" | "frozenset" as name)):
            return name not in names.bound
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub(), right=right):
            return _is_set(left, names) and _is_set(right, names)
        case _:
            return False


def find_sets(body: list[ast.stmt], bound: Counter[str], names: Names) -> None:
    """Note the names that nothing but one statement at the top level binds, to one of Python's own sets."""
    for node in body:
        name = constant_name(node)
        value = getattr(node, "value", None)
        if name is not None and bound[name] == 1 and isinstance(value, ast.expr) and _is_set(value, names):
            names.sets.add(name)


def _of_same_type(node: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    """Literals in displays, each of which may become another one of its type."""
    match node:
        case ast.Constant(value=value):
            yield node, f"literal {type(value).__name__}"
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            for element in elements:
                yield from _of_same_type(element)
        case _:
            return


def _is_literal(node: ast.expr) -> bool:
    if _sum_of_literals(node):
        return True
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _sum_of_literals(node: ast.expr) -> bool:
    """Whether this is something like ``24 * 60 * 60``, which can not fail."""
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult(), right=right):
            return _sum_of_literals(left) and _sum_of_literals(right)
        case ast.Constant(value=value):
            return type(value) is int
        case _:
            return False


def only_wraps(decorator: ast.expr) -> bool:
    """Whether a decorator is known not to look at annotations."""
    match decorator:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _WRAPPERS
        case _:
            return False


def default_leaves(node: FunctionNode, names: Names) -> Iterator[tuple[ast.expr, str]]:
    """The literals among the defaults of a function. Who looks at them, as a decorator may, is seen when it does."""
    for default in _defaults(node):
        yield from leaves_of(default, names)


def default_paths(node: FunctionNode) -> Iterator[ast.AST]:
    """Names, and attributes of names, that are defaults: their value goes to nobody but who looks at these."""
    for default in _defaults(node):
        parts = list(walk(default))
        if all(isinstance(part, ast.Name | ast.Attribute | ast.expr_context) for part in parts):
            yield from parts


def _defaults(node: FunctionNode) -> Iterator[ast.expr]:
    return (default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None)


def does_nothing(node: FunctionNode) -> bool:
    """Whether no call of the function can tell what its arguments were."""
    return all(isinstance(part, ast.Pass) or _is_constant(part) for part in node.body)


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def constant_name(node: ast.stmt) -> str | None:
    """The name in ``NAME = value`` and ``NAME: annotation = value`` where nobody gives the name a meaning."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            dunder = name.startswith("__") and name.endswith("__")
            return None if (dunder and name not in _INSCRIPTIONS) or _MEANT.match(name) else name
        case _:
            return None


def bound_names(body: list[ast.stmt]) -> Counter[str]:
    """How often statements bind a name, wherever in them."""
    found: Counter[str] = Counter()
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found[name] += 1
            case ast.alias(name=name, asname=asname):
                found[asname or name.partition(".")[0]] += 1
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] += 1
                continue
            case _:
                pass
        waiting += children_of(node)
    return found


def modules(body: list[ast.stmt], bound: Counter[str]) -> dict[str, str]:
    """Names that nothing but ``import ...`` at the top level binds, and always to one module → the module."""
    aliases = [alias for node in body if isinstance(node, ast.Import) for alias in node.names]
    pairs = [(alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2 for alias in aliases]
    return {name: module for name, module in pairs if bound[name] == pairs.count((name, module))}


def import_sources(body: list[ast.stmt], bound: Counter[str]) -> dict[str, tuple[int, str, str]]:
    """Names that nothing but one ``from ... import ...`` at the top level binds → dots, module and name there."""
    return {
        name: (node.level, node.module or "", alias.name)
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if bound[name := alias.asname or alias.name] == 1
    }


def full_name(name: str, sources: Mapping[str, tuple[int, str, str]], modules: Mapping[str, str]) -> str:
    """A dotted name with the module that an import statement takes it from; empty where none does by a full name."""
    head, dot, tail = name.partition(".")
    dots, module, original = sources.get(head, (0, "", ""))
    if original and not dots:
        return f"{module}.{original}{dot}{tail}"
    return f"{modules[head]}{dot}{tail}" if head in modules else ""
