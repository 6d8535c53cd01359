"""By which keys a function finds loaded modules."""

from __future__ import annotations

from types import CodeType

import pytest

from pytest_perfcache.trace.keys import Keys, keys_of


def keys(body: str) -> Keys | None:
    text = f"def f(name, other=None):\n    {body}"
    (code,) = (constant for constant in compile(text, "shop.py", "exec").co_consts if isinstance(constant, CodeType))
    return keys_of(code)


@pytest.mark.parametrize(
    ("body", "arguments", "constants"),
    [
        ("return sys.modules[name]", {"name"}, set()),
        ("return sys.modules.get(name)", {"name"}, set()),
        ("return sys.modules.get(name, None)", {"name"}, set()),
        ("return modules.get(name, other).rate", {"name"}, set()),
        ("return name in sys.modules and other in modules", {"name", "other"}, set()),
        ("return sys.modules['shop'].rate(name)", set(), {"shop"}),
        ("if 'shop' not in sys.modules: return sys.modules[name]", {"name"}, {"shop"}),
        ("return name", set(), set()),
    ],
)
def test_keys_that_are_arguments_or_constants(body: str, arguments: set[str], constants: set[str]) -> None:
    assert keys(body) == Keys(frozenset(arguments), frozenset(constants))


@pytest.mark.parametrize(
    "body",
    [
        "return sys.modules",
        "return list(sys.modules)",
        "return sys.modules.items()",
        "return sys.modules[name + other]",
        "return sys.modules[name.lower()]",
        "return sys.modules.get(name + other)",
        "return sys.modules.get(name + 'x', None)",
        "return sys.modules.get(name.lower())",
        "return sys.modules.get(name or other)",
        "return sys.modules[name or other]",
        "return (name or other) in sys.modules",
        "name += 'x'\n    return sys.modules[name]",
        "for name in other: return sys.modules[name]",
        "found = name\n    return sys.modules.get(found)",
        "return sys.modules[1]",
        "find = sys.modules.get\n    return find(name)",
    ],
)
def test_where_the_key_may_be_anything(body: str) -> None:
    assert keys(body) is None


def test_a_lambda_shares_its_number_with_the_function_around() -> None:
    (code,) = (
        constant
        for constant in compile("f = lambda name: sys.modules[name]", "shop.py", "exec").co_consts
        if isinstance(constant, CodeType)
    )

    assert keys_of(code) is None
