"""Whose items a function assigns: what else it only looks at is no place where it keeps something."""

from __future__ import annotations

from types import CodeType

import pytest

from pytest_perfcache.trace.stateful import Stateful, stateful


def kept(body: str) -> tuple[set[str], set[str]]:
    """Globals and arguments in which a function with this body may keep something; it tests each argument."""
    text = f"def f(self, key, other):\n    if key in self.found: return\n    {body}"
    (code,) = (constant for constant in compile(text, "shop.py", "exec").co_consts if isinstance(constant, CodeType))
    found = stateful(code) or Stateful()
    return set(found.globals), set(found.holders)


@pytest.mark.parametrize(
    ("body", "names", "holders"),
    [
        ("self.found[key] = other", set(), {"self"}),
        ("self.found[key] = TABLE[key][other]", set(), {"self"}),
        ("self.found[key][other] = 1", set(), {"self"}),
        ("self.found[TABLE[key]].rows[other] = len(TABLE)", set(), {"self"}),
        ("TABLE[key] = other", {"TABLE"}, set()),
        ("TABLE.rows[key] = self.rate", {"TABLE.rows"}, set()),
        ("del self.found[key]", set(), {"self"}),
        ("del TABLE[key], other[key]", {"TABLE"}, {"other"}),
        ("self.found[:] = TABLE", set(), {"self"}),
        ("other[1:] = self.found", set(), {"other"}),
        ("self.found[key] = other; TABLE[other] = key", {"TABLE"}, {"self"}),
        ("self.found[key] = TABLE if other else key", set(), {"self"}),
    ],
)
def test_only_the_head_of_the_container_keeps_something(body: str, names: set[str], holders: set[str]) -> None:
    assert kept(body) == (names, holders)


@pytest.mark.parametrize(
    "body",
    [
        "found = self.found; found[key] = 1",
        "for found in self.found: found[key] = 1",
        "with self.found as found: found[key] = 1",
        "(self if key else other)[key] = 1",
        "(self or other)[key] = 1",
        "other[key] = 1; (other or self.found)[key] = 2",
        "(self.found or TABLE)[key][other] = 1",
        "self.found[key] += 1",
        "found = self.found; other[key] = 1; found[1:2] = other",
    ],
)
def test_where_the_container_may_be_another_name_for_something_all_count(body: str) -> None:
    assert "self" in kept(body)[1]


def test_a_global_that_is_bound_to_what_another_one_holds() -> None:
    names, holders = kept("global TABLE; TABLE = self.found; TABLE[key] = 1")

    assert "TABLE" in names
    assert "self" in holders
