"""Walking syntax trees, in less than half the time that ``ast`` takes for it."""

from __future__ import annotations

import ast
from typing import TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def children_of(node: ast.AST) -> list[ast.AST]:
    """As ``ast.iter_child_nodes``."""
    found: list[ast.AST] = []
    for value in map(vars(node).get, node._fields):
        if isinstance(value, ast.AST):
            found.append(value)
        elif type(value) is list:
            found += [item for item in value if isinstance(item, ast.AST)]
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """The node and all below it, in the order of ``ast.walk``."""
    nodes = [node]
    for each in nodes:  # which grows meanwhile
        nodes += children_of(each)
    return nodes
