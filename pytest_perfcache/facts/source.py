"""Source blocks and module skeletons, from the syntax tree.

A module is cut into *blocks*, one for each function body however deep it is nested, and a *skeleton*: what runs when
the module is imported. Comments, formatting and the place of a statement's lines leave no trace in either.

Refinements keep edits from re-running more than they can reach (``docs/explanation/facts.md``):

* A function whose definition does nothing but bind a name (no decorator, or ``pytest.mark`` and ``pytest.fixture``
  only, and no computed default) is left out of the skeleton and listed by name with its signature. It matters to
  code that *mentions* the name, so that a new, unrelated function re-runs nothing.
* A test method of a class is treated the same way.
* Of module constants, class attributes and defaults the skeleton holds the shape alone; the literal *values* are
  listed by name.
* Functions of the same qualified name (a property and its setter, ``overload``) share one block.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from pytest_perfcache.facts.bindings import harmless_name, only_binds, other_bindings
from pytest_perfcache.facts.context import Context
from pytest_perfcache.facts.digest import fingerprint_all
from pytest_perfcache.facts.mentions import ANY_GLOBAL, ANYTHING, MENTIONING, mentions_of
from pytest_perfcache.facts.texts import DOCTEST
from pytest_perfcache.facts.tree import FunctionNode, children_of, walk
from pytest_perfcache.facts.values import (
    TYPE_CHECKING,
    Names,
    bound_names,
    constant_name,
    default_leaves,
    default_paths,
    does_nothing,
    find_sets,
    import_sources,
    leaves_of,
    modules,
    only_wraps,
)
from pytest_perfcache.model import Fingerprint, defaults_of, enclosing_name, is_defaults

_LOCATION_FIELDS: Final = frozenset(("ctx", "type_comment", "kind", "type_ignores"))
_ANNOTATED: Final = (ast.arg, ast.AnnAssign)
_HOOKS: Final = frozenset(("__init_subclass__", "__class_getitem__", "__getattribute__"))


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one content of a source file consists of.

    ``blocks`` and ``mentions`` are keyed by qualified name; the skeleton's mentions stand under ``""``. ``classes``
    are the qualified names of what has code but no block: classes, and from 3.12 on type parameters and aliases.
    ``values`` are the literals of ``NAME``, of the attribute ``Class.name``, and of the defaults of a function, whose
    name :func:`~pytest_perfcache.model.defaults_of` marks.
    ``bases`` tells of each class what it is derived from; None where something else takes part in making it.
    ``sources`` tells of names that the module imports from others at its top level: dots, module and name there;
    ``modules`` of imported modules; ``bound`` are all names that its statements bind.
    """

    skeleton: Fingerprint
    bindings: Mapping[str, Fingerprint]
    blocks: Mapping[str, Fingerprint]
    mentions: Mapping[str, frozenset[str]]
    classes: frozenset[str]
    values: Mapping[str, Fingerprint]
    bases: Mapping[str, tuple[str, ...] | None]
    sources: Mapping[str, tuple[int, str, str]]
    modules: Mapping[str, str]
    bound: frozenset[str]

    @property
    def all_mentions(self) -> frozenset[str]:
        """What any part of the module mentions."""
        return frozenset().union(*self.mentions.values())

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
    return _Analyser(tree).module()


def changed_bindings(before: Analysis, after: Analysis) -> frozenset[str]:
    """Names of functions that appeared, vanished or changed their signature."""
    names = before.bindings.keys() | after.bindings.keys()
    return frozenset(name for name in names if before.bindings.get(name) != after.bindings.get(name))


def changed_values(before: Analysis, after: Analysis) -> frozenset[str]:
    """Names of constants and attributes whose literal values are others now."""
    names = {name for name in before.values.keys() | after.values.keys() if not is_defaults(name)}
    return frozenset(name for name in names if before.values.get(name) != after.values.get(name))


class _Analyser:
    """Walks one module's tree; ``_scope`` names the function whose mentions are gathered now."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._context = Context.of(tree)
        self._bodies: dict[str, list[Fingerprint]] = {}
        self._bindings: dict[str, Fingerprint] = {}
        self._values: dict[str, list[Fingerprint]] = {}
        self._bases: dict[str, tuple[str, ...] | None] = {}
        self._mentions: dict[str, set[str]] = {"": set()}
        self._classes: set[str] = set()
        self._taken = other_bindings(tree.body)
        self._bound = bound_names(tree.body)
        sources, imported = import_sources(tree.body, self._bound), modules(tree.body, self._bound)
        self._names = Names(set(self._bound), sources, imported, set())
        find_sets(tree.body, self._bound, self._names)
        self._own: set[int] = set()
        """Targets of assignments whose values are kept apart: they bind the name, and use it not."""
        self._leaves: dict[int, tuple[str, str]] = {}
        """Literals that are kept apart → the name of what they are the value of, and what stands in the skeleton."""
        self._defaults: dict[int, str] = {}
        """Parts of defaults that are no more than names → the function."""
        self._annotated: str | None = None
        """The function whose signature is walked now, where nobody looks at it when it is made; empty: the module."""

    def module(self) -> Analysis:
        skeleton: list[str] = []
        self._statements(self._tree.body, skeleton, _Place("", values=True))
        skeleton += self._used_at_import()
        return Analysis(
            skeleton=fingerprint_all(skeleton),
            bindings=dict(self._bindings),
            blocks={name: fingerprint_all(part.hex() for part in parts) for name, parts in self._bodies.items()},
            mentions={name: frozenset(found) for name, found in self._mentions.items()},
            classes=frozenset(self._classes),
            values={name: fingerprint_all(part.hex() for part in parts) for name, parts in self._values.items()},
            bases=dict(self._bases),
            sources=self._names.sources,
            modules=self._names.modules,
            bound=frozenset(self._names.bound),
        )

    def _statements(self, body: list[ast.stmt], out: list[str], place: _Place) -> None:
        """The statements of the module, or of a class outside of functions."""
        names = [constant_name(node) for node in body]
        for node, name in zip(body, names, strict=True):
            if isinstance(node, FunctionNode):
                self._apart(defaults_of(place.prefix + node.name), default_leaves(node, self._names))
                if self._is_binding(node, place):
                    self._bindings[place.prefix + node.name] = self._function(node, prefix=place.prefix, scope="")
                    continue
            elif name is not None and place.values and self._bound[place.prefix + name] == 1:
                self._assignment(node, place.prefix + name)
            self._annotated = None if place.prefix else ""
            self._feed(node, out, prefix=place.prefix, scope="")

    def _used_at_import(self) -> Iterator[str]:
        """Where those functions stand that the import may call: further down they are not there yet."""
        places: dict[str, int] = {}
        count = 0
        for node in self._tree.body:
            if isinstance(node, FunctionNode) and node.name in self._bindings:
                places[node.name] = count
            else:
                count += 1
        used: set[str] = set()
        waiting = ["", *filter(is_defaults, self._mentions)]
        while waiting:
            mentions = self._mentions.get(waiting.pop(), ())
            found = {name.lstrip("$~@:") for name in mentions} & places.keys() - used
            if {ANYTHING, ANY_GLOBAL} & set(mentions):
                found = places.keys() - used
            used |= found
            waiting += found
        return (f"{name} {places[name]}" for name in sorted(used))

    def _is_binding(self, node: FunctionNode, place: _Place) -> bool:
        harmless = node.name.startswith("test") if place.prefix else harmless_name(node.name, self._taken)
        return harmless and only_binds(node, self._taken)

    def _assignment(self, node: ast.stmt, name: str) -> None:
        value, target = getattr(node, "value"), getattr(node, "target", None)  # noqa: B009 - of two classes
        self._own.add(id(target or getattr(node, "targets")[0]))  # noqa: B009
        leaves = list(leaves_of(value, self._names))
        own_name = name.rpartition(".")[2]
        self._own.update(id(leaf) for leaf, _ in leaves if getattr(leaf, "value", None) == own_name)
        self._apart(name, leaves)

    def _apart(self, name: str, leaves: Iterable[tuple[ast.expr, str]]) -> None:
        """Keep these literals out of the skeleton."""
        for leaf, label in leaves:
            self._leaves[id(leaf)] = name, label

    def _function(self, node: FunctionNode, *, prefix: str, scope: str) -> Fingerprint:
        """Enter the function's block; return its signature's fingerprint, without values that are kept apart."""
        qualname = prefix + node.name
        mentions = self._mentions.setdefault(qualname, set())
        mentions.add(f"<{node.name}")
        signature: list[str] = [type(node).__name__, node.name, repr(ast.get_docstring(node, clean=False))]
        own = len(self._values.get(defaults_of(qualname), ()))
        if not scope:
            self._defaults.update((id(part), qualname) for part in default_paths(node))
        outer, self._annotated = self._annotated, None
        if not scope and all(map(only_wraps, node.decorator_list)):
            self._annotated = qualname
        for part in (*node.decorator_list, node.args, node.returns, *getattr(node, "type_params", ())):
            if isinstance(part, ast.AST):
                self._feed(part, signature, prefix=prefix, scope=scope, annotation=part is node.returns)
        self._annotated = outer
        mentions.update(f"<{argument.arg}" for argument in walk(node.args) if isinstance(argument, ast.arg))
        self._classes.update(_type_names(node, prefix))
        body = list(signature)
        if not does_nothing(node):
            body += (part.hex() for part in self._values.get(defaults_of(qualname), ())[own:])
        globals_here = {name for child in node.body for name in _global_names(child)}
        inner = _Inner(qualname, frozenset(globals_here))
        for statement in node.body:
            self._feed(statement, body, prefix=inner.prefix, scope=qualname, module_names=inner.globals)
        if DOCTEST in (ast.get_docstring(node, clean=False) or ""):
            # Its examples run as a test of their own, which need not enter the function.
            self._mentions[""].update(*(mentions_of(part, self._context) for part in walk(node.body[0])))
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
        annotation: bool = False,
    ) -> None:
        if isinstance(node, FunctionNode | ast.ClassDef):
            outer = "" if node.name in module_names else prefix
            if isinstance(node, ast.ClassDef):
                self._class(node, out, prefix=outer, scope=scope)
            else:
                out.append(self._function(node, prefix=outer, scope=scope).hex())
            return
        apart = self._leaves.pop(id(node), None)
        if apart is not None:
            out.append(apart[1])
            out = []
        kind = type(node)
        out.append(kind.__name__)
        never = isinstance(node, ast.If) and not scope and self._names.full(node.test) == TYPE_CHECKING
        if kind in MENTIONING or id(node) in self._defaults:
            self._mention(node, scope, annotation=annotation)
        self._classes.update(_type_names(node, prefix))
        fields = vars(node)
        for name in _without_places(kind._fields):
            if name not in fields or (never and name == "body"):
                continue
            value = fields[name]
            within = annotation or (name == "annotation" and kind in _ANNOTATED)
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, ast.AST):
                    self._feed(item, out, prefix=prefix, scope=scope, module_names=module_names, annotation=within)
                else:
                    out.append(f"{type(item).__name__}:{item!r}")
            out.append(f"]{len(value)}" if isinstance(value, list) else "]")
        if apart is not None:
            self._values.setdefault(apart[0], []).append(fingerprint_all(out))

    def _class(self, node: ast.ClassDef, out: list[str], *, prefix: str, scope: str) -> None:
        qualname = prefix + node.name
        self._classes.update((qualname, *_type_names(node, prefix)))
        self._mentions[scope].add(f"<{node.name}")
        out += ["ClassDef", node.name]
        for part in (*node.decorator_list, *node.bases, *node.keywords, *getattr(node, "type_params", ())):
            self._feed(part, out, prefix=prefix, scope=scope)
        out.append("{")
        if scope:
            for statement in node.body:
                self._feed(statement, out, prefix=f"{qualname}.", scope=scope)
        else:
            plain = not (node.decorator_list or node.keywords)
            hooked = any(isinstance(child, FunctionNode) and child.name in _HOOKS for child in node.body)
            self._bases[qualname] = self._bases_of(node, qualname, plain=plain and not hooked)
            bound = bound_names(node.body)
            self._bound.update({f"{qualname}.{name}": times for name, times in bound.items()})
            self._names.bound.update(bound)
            self._statements(node.body, out, _Place(f"{qualname}.", values=plain and not hooked))
        out.append("}")

    def _bases_of(self, node: ast.ClassDef, qualname: str, *, plain: bool) -> tuple[str, ...] | None:
        return tuple(map(ast.unparse, node.bases)) if plain and self._bound[qualname] == 1 else None

    def _mention(self, node: ast.AST, scope: str, *, annotation: bool) -> None:
        found = mentions_of(node, self._context)
        holder = self._defaults.get(id(node))
        if holder is not None:
            given = set(found)
            self._mentions[holder] |= given
            self._mentions.setdefault(defaults_of(holder), set()).update(given)
            self._mentions[scope].update(f"<{name.lstrip('$')}" for name in given)
        elif id(node) in self._own:
            self._mentions[scope].update(f"<{name.lstrip('$')}" for name in found)
        elif annotation and self._annotated is not None:
            for name in found:
                bare = name.removeprefix("$")
                self._mentions[scope].add(f":{bare}" if bare.isidentifier() else name)
                if self._annotated:
                    self._mentions[self._annotated].add(name)
                    self._mentions[scope].update(f"{part}:{bare}" for part in self._annotated.split("."))
        else:
            self._mentions[scope].update(found)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where statements stand: the module, or a class. ``values``: its assignments may be kept apart."""

    prefix: str
    values: bool


@dataclass(frozen=True, slots=True)
class _Inner:
    """How names are qualified inside a function; names declared global keep their bare name."""

    qualname: str
    globals: frozenset[str]

    @property
    def prefix(self) -> str:
        return f"{self.qualname}.<locals>."


@cache
def _without_places(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a node's fields that say what it is, and not where."""
    return tuple(name for name in fields if name not in _LOCATION_FIELDS)


def _type_names(node: ast.AST, prefix: str) -> Iterator[str]:
    """Qualified names of the type parameters and the alias that a node defines: their values are computed later."""
    for parameter in getattr(node, "type_params", ()):
        yield prefix + parameter.name
    if type(node).__name__ == "TypeAlias":
        yield prefix + getattr(node, "name").id  # noqa: B009 - the class came with 3.12


def _global_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Global):
        yield from node.names
    elif not isinstance(node, FunctionNode | ast.ClassDef):
        for child in children_of(node):
            yield from _global_names(child)
