"""Source blocks and module skeletons, from the syntax tree.

A module is cut into *blocks*, one for each function body however deep it is nested, and a *skeleton*: what runs when
the module is imported. Comments, formatting and the place of a statement's lines leave no trace in either.

Three refinements keep harmless edits harmless (``docs/explanation/facts.md``):

* A function whose definition does nothing but bind a name (no decorator, or ``pytest.mark`` and ``pytest.fixture``
  only, and no computed default) is left out of the skeleton and listed by name with its signature. It matters to
  code that *mentions* the name, so that a new, unrelated function re-runs nothing.
* A test method of a class is treated the same way.
* Functions of the same qualified name (a property and its setter, ``overload``) share one block.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytest_perfcache.facts.digest import fingerprint_all
from pytest_perfcache.model import Fingerprint, enclosing_name

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

ANYTHING: Final = "*"
"""Stands for every name, in the mentions of code that looks names up by a computed string."""

_REFLECTIVE: Final = frozenset(
    """
    globals vars dir eval exec locals getmembers __dict__ import_module __import__ attrgetter
    """.split()
)
_BY_NAME: Final = frozenset(("getattr", "hasattr", "setattr", "delattr"))
_REFLECTIVE_TEXT: Final = re.compile(rb"\b(?:%s)\b|import\s*\*" % "|".join(sorted(_REFLECTIVE | _BY_NAME)).encode())
_PYTEST_NAMES: Final = re.compile(r"pytest_|setup|teardown|setUp|tearDown|load_tests|__")
_BUILTINS: Final = frozenset(vars(builtins))
_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*")
_LOCATION_FIELDS: Final = frozenset(("ctx", "type_comment", "kind", "type_ignores"))


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one content of a source file consists of.

    ``blocks`` and ``mentions`` are keyed by qualified name; the skeleton's mentions stand under ``""``. ``classes``
    are the qualified names of what has code but no block: classes, and from 3.12 on type parameters and aliases.
    """

    skeleton: Fingerprint
    bindings: Mapping[str, Fingerprint]
    blocks: Mapping[str, Fingerprint]
    mentions: Mapping[str, frozenset[str]]
    classes: frozenset[str]

    def block_of(self, qualname: str) -> str | None:
        """The block that holds the code of this qualified name, ``""`` for the skeleton, None where unknown.

        Lambdas, comprehensions and class bodies belong to the function around them.
        """
        name = enclosing_name(qualname)
        while name:
            if name in self.blocks:
                return name
            if name not in self.classes:
                return None
            name = name.rpartition(".")[0].removesuffix(".<locals>")
        return ""


def analyse(content: bytes) -> Analysis | None:
    """Cut a source file into skeleton and blocks; None where it is not valid Python."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return _Analyser().module(tree)


def changed_bindings(before: Analysis, after: Analysis) -> frozenset[str]:
    """Names of functions that appeared, vanished or changed their signature."""
    names = before.bindings.keys() | after.bindings.keys()
    return frozenset(name for name in names if before.bindings.get(name) != after.bindings.get(name))


def mentioned(names: Iterable[str], mentions: frozenset[str]) -> str | None:
    """The first of ``names`` that code with these mentions could look up, or None."""
    for name in sorted(names):
        if ANYTHING in mentions or name.rpartition(".")[2] in mentions:
            return name
    return None


def may_mention(source: bytes, names: Iterable[str]) -> bool:
    """Whether a file's text leaves it possible that its code mentions a name: no parsing, so only a sieve."""
    wanted = (name.rpartition(".")[2].encode() for name in names)
    return any(name in source for name in wanted) or _REFLECTIVE_TEXT.search(source) is not None


class _Analyser:
    """Walks one module's tree; ``_scope`` names the function whose mentions are gathered now."""

    def __init__(self) -> None:
        self._bodies: dict[str, list[Fingerprint]] = {}
        self._bindings: dict[str, Fingerprint] = {}
        self._mentions: dict[str, set[str]] = {"": set()}
        self._classes: set[str] = set()
        self._taken: frozenset[str] = frozenset()

    def module(self, tree: ast.Module) -> Analysis:
        skeleton: list[str] = []
        self._statements(tree.body, skeleton, prefix="", scope="", top=True)
        return Analysis(
            skeleton=fingerprint_all(skeleton),
            bindings=dict(self._bindings),
            blocks={name: fingerprint_all(part.hex() for part in parts) for name, parts in self._bodies.items()},
            mentions={name: frozenset(found) for name, found in self._mentions.items()},
            classes=frozenset(self._classes),
        )

    def _statements(
        self,
        body: list[ast.stmt],
        out: list[str],
        *,
        prefix: str,
        scope: str,
        top: bool = False,
        cls: bool = False,
    ) -> None:
        if top:
            self._taken = _other_bindings(body)
        taken = self._taken
        for node in body:
            if (
                isinstance(node, FunctionNode)
                and _only_binds(node, taken)
                and ((top and _harmless_name(node.name, taken)) or (cls and not scope and node.name.startswith("test")))
            ):
                self._bindings[prefix + node.name] = self._function(node, prefix=prefix, scope=scope)
            else:
                self._feed(node, out, prefix=prefix, scope=scope)

    def _function(self, node: FunctionNode, *, prefix: str, scope: str) -> Fingerprint:
        """Enter the function's block; return its signature's fingerprint."""
        qualname = prefix + node.name
        mentions = self._mentions.setdefault(qualname, set())
        mentions.add(node.name)
        signature: list[str] = [type(node).__name__, node.name, repr(ast.get_docstring(node, clean=False))]
        decorators: list[str] = []
        for part in (*node.decorator_list, node.args, node.returns, *getattr(node, "type_params", ())):
            if isinstance(part, ast.AST):
                self._feed(part, decorators, prefix=prefix, scope=scope)
        mentions.update(argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg))
        self._classes.update(_type_names(node, prefix))
        signature += decorators
        body: list[str] = list(signature)
        globals_here = {name for child in node.body for name in _global_names(child)}
        inner = _Inner(qualname, frozenset(globals_here))
        for statement in node.body:
            self._feed(statement, body, prefix=inner.prefix, scope=qualname, module_names=inner.globals)
        self._bodies.setdefault(qualname, []).append(fingerprint_all(body))
        return fingerprint_all(signature)

    def _feed(
        self,
        node: ast.AST,
        out: list[str],
        *,
        prefix: str,
        scope: str,
        module_names: frozenset[str] = frozenset(),
    ) -> None:
        if isinstance(node, FunctionNode | ast.ClassDef):
            outer = "" if node.name in module_names else prefix
            if isinstance(node, ast.ClassDef):
                self._class(node, out, prefix=outer, scope=scope)
            else:
                out.append(self._function(node, prefix=outer, scope=scope).hex())
            return
        out.append(type(node).__name__)
        self._mention(node, scope)
        self._classes.update(_type_names(node, prefix))
        for name, value in ast.iter_fields(node):
            if name in _LOCATION_FIELDS:
                continue
            if isinstance(value, ast.AST):
                self._feed(value, out, prefix=prefix, scope=scope, module_names=module_names)
            elif isinstance(value, list):
                out.append(f"[{len(value)}")
                for item in value:
                    if isinstance(item, ast.AST):
                        self._feed(item, out, prefix=prefix, scope=scope, module_names=module_names)
                    else:
                        out.append(repr(item))
            else:
                out.append(f"{type(value).__name__}:{value!r}")

    def _class(self, node: ast.ClassDef, out: list[str], *, prefix: str, scope: str) -> None:
        self._classes.update((prefix + node.name, *_type_names(node, prefix)))
        self._mentions[scope].add(node.name)
        out += ["ClassDef", node.name]
        for part in (*node.decorator_list, *node.bases, *node.keywords, *getattr(node, "type_params", ())):
            self._feed(part, out, prefix=prefix, scope=scope)
        out.append("{")
        self._statements(node.body, out, prefix=f"{prefix}{node.name}.", scope=scope, cls=True)
        out.append("}")

    def _mention(self, node: ast.AST, scope: str) -> None:
        self._mentions[scope].update(_names_in(node))


@dataclass(frozen=True, slots=True)
class _Inner:
    """How names are qualified inside a function; names declared global keep their bare name."""

    qualname: str
    globals: frozenset[str]

    @property
    def prefix(self) -> str:
        return f"{self.qualname}.<locals>."


def _type_names(node: ast.AST, prefix: str) -> Iterator[str]:
    """Qualified names of the type parameters and the alias that a node defines: their values are computed later."""
    for parameter in getattr(node, "type_params", ()):
        yield prefix + parameter.name
    if type(node).__name__ == "TypeAlias":
        yield prefix + getattr(node, "name").id  # noqa: B009 - the class came with 3.12


def _names_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield ANYTHING if name in _REFLECTIVE else name
        case ast.Constant(value=str(text)):
            yield from _IDENTIFIER.findall(text)
        case ast.alias(name=name):
            yield from (ANYTHING,) if name == "*" else name.split(".")
        case ast.keyword(arg=str(name)) | ast.arg(arg=name):
            yield name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names
        case ast.Call(func=ast.Name(id=name), args=[_, attribute, *_]) if name in _BY_NAME:
            if not isinstance(attribute, ast.Constant):
                yield ANYTHING
        case _:
            return


def _global_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Global):
        yield from node.names
    elif not isinstance(node, FunctionNode | ast.ClassDef):
        for child in ast.iter_child_nodes(node):
            yield from _global_names(child)


def _other_bindings(body: list[ast.stmt]) -> frozenset[str]:
    """Names that the module binds other than by exactly one function statement."""
    seen: set[str] = set()
    twice: set[str] = set()
    for node in body:
        if isinstance(node, FunctionNode):
            (twice if node.name in seen else seen).add(node.name)
            continue
        for child in ast.walk(node):
            match child:
                case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                    twice.add(name)
                case ast.alias(name=name, asname=asname):
                    twice.add(asname or name.partition(".")[0])
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    twice.add(name)
                case _:
                    pass
    return frozenset(twice)


def _harmless_name(name: str, taken: frozenset[str]) -> bool:
    return name not in taken and name not in _BUILTINS and not _PYTEST_NAMES.match(name)


def _only_binds(node: FunctionNode, bound: frozenset[str]) -> bool:
    """Whether executing this definition does nothing but bind its name.

    Defaults and annotations may name what the module binds, and nothing that could fail or call.
    """
    generics: list[ast.AST] = getattr(node, "type_params", [])
    bound |= {getattr(parameter, "name", "") for parameter in generics}
    parts: list[ast.AST | None] = [*generics, *node.args.defaults, *node.args.kw_defaults, node.returns]
    parts += [argument.annotation for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
    for part in parts:
        for child in ast.walk(part) if part is not None else ():
            if isinstance(child, ast.Call):
                return False
            if isinstance(child, ast.Name) and child.id not in bound and child.id not in _BUILTINS:
                return False
    return all(_pytest_decorator(decorator) for decorator in node.decorator_list)


def _pytest_decorator(node: ast.expr) -> bool:
    call = node if isinstance(node, ast.Call) else None
    target = ast.unparse(call.func if call else node)
    if target.startswith(("pytest.mark.", "mark.")):
        return True
    if target != "pytest.fixture":
        return False
    return call is None or not ({"name", "autouse"} & {keyword.arg for keyword in call.keywords})
