"""Which function definitions do nothing but bind a name."""

from __future__ import annotations

import ast
import builtins
import re
from typing import Final

from pytest_perfcache.facts.tree import FunctionNode, walk

_PYTEST_NAMES: Final = re.compile(r"pytest_|setup|teardown|setUp|tearDown|load_tests|__")
_BUILTINS: Final = frozenset(vars(builtins))


def other_bindings(body: list[ast.stmt]) -> frozenset[str]:
    """Names that the module binds other than by exactly one function statement."""
    seen: set[str] = set()
    twice: set[str] = set()
    for node in body:
        if isinstance(node, FunctionNode):
            (twice if node.name in seen else seen).add(node.name)
            continue
        for child in walk(node):
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


def harmless_name(name: str, taken: frozenset[str]) -> bool:
    return name not in taken and name not in _BUILTINS and not _PYTEST_NAMES.match(name)


def only_binds(node: FunctionNode, bound: frozenset[str]) -> bool:
    """Whether executing this definition does nothing but bind its name.

    Defaults and annotations may name what the module binds, and nothing that could fail or call.
    """
    generics: list[ast.AST] = getattr(node, "type_params", [])
    bound |= {getattr(parameter, "name", "") for parameter in generics}
    parts: list[ast.AST | None] = [*generics, *node.args.defaults, *node.args.kw_defaults, node.returns]
    parts += [argument.annotation for argument in walk(node.args) if isinstance(argument, ast.arg)]
    for part in parts:
        for child in walk(part) if part is not None else ():
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
