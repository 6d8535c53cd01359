"""Whose items a function assigns: what else it only looks at is no place where it keeps something."""

from __future__ import annotations

from types import CodeType

import pytest

from pytest_perfcache.trace.stateful import Stateful, stateful


def kept(body: str) -> tuple[set[str], set[str]]:
    """Globals and arguments in which a function with this body may keep something; it tests each argument."""
    return kept_by(f"def f(self, key, other):\n    if key in self.found: return\n    {body}")


def kept_by(text: str) -> tuple[set[str], set[str]]:
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
        ("found = self.found; found[key] = TABLE", set(), {"self"}),
        ("found = self.found[key]; rows = found.rows; rows[key] = other", set(), {"self"}),
        ("found = TABLE.rows; found[key] = self.found", {"TABLE.rows"}, set()),
        ("other = {}; other[key] = TABLE", set(), {"other"}),
    ],
)
def test_only_the_head_of_the_container_keeps_something(body: str, names: set[str], holders: set[str]) -> None:
    assert kept(body) == (names, holders)


@pytest.mark.parametrize(
    "made",
    [
        "{}",
        "[]",
        "{key: TABLE}",
        "{'a': 1, 'b': other}",
        "{k: v for k, v in TABLE}",
        "[TABLE for one in other]",
        "{k: other for k in TABLE if k is not other}",
    ],
)
def test_a_container_that_the_function_makes_keeps_nothing(made: str) -> None:
    assert kept(f"found = {made}; found[key] = (TABLE, self)") == (set(), set())


def inner(text: str) -> Stateful:
    """What the function `inner` in this body of another function keeps."""
    outer = next(c for c in compile(text, "shop.py", "exec").co_consts if isinstance(c, CodeType))
    code = next(c for c in outer.co_consts if isinstance(c, CodeType) and c.co_name == "inner")
    return stateful(code) or Stateful()


def test_of_the_variables_around_a_function_only_those_it_changes_keep_something() -> None:
    body = "for one in rows:\n      table[key] = one\n    names.append(key)"
    text = f"def f(rows, names, table):\n  def inner(key):\n    {body}"

    assert set(inner(text).holders) == {"names", "table"}


def test_a_container_that_inner_functions_only_use_keeps_nothing() -> None:
    assert kept("found = {}; found[key] = TABLE; return lambda: found") == (set(), set())


@pytest.mark.parametrize(
    "body",
    [
        "found = {}\n    def inner(): nonlocal found; found = self\n    inner(); found[key] = 1",
        "found = {}\n    def inner():\n      def last(): nonlocal found; found = self\n    found[key] = 1",
    ],
)
def test_a_container_that_an_inner_function_replaces_may_be_anything(body: str) -> None:
    assert "other" in kept(f"print(other.rows[1])\n    {body}")[1]


def test_its_own_keywords_keep_nothing() -> None:
    text = "def f(found, **more):\n    if found is None: return\n    more['found'] = found\n    return more"

    assert kept_by(text) == (set(), set())


def test_what_its_keywords_hold_may_be_anything() -> None:
    text = "def f(found, **more):\n    if 0 in found: return\n    more['rows'][0] = found"

    assert kept_by(text) == (set(), {"found"})


def test_an_argument_that_is_only_given_by_name_keeps_something() -> None:
    text = "def f(key, *, found):\n    if key not in found:\n        found[key] = 1\n    return found[key]"

    assert kept_by(text) == (set(), {"found"})


@pytest.mark.parametrize(
    "body",
    [
        "found = {} if key else self.found; found[key] = 1",
        "found = {'a': self.found}; found['a'][key] = 1",
        "found = {'a': self.found}; found['a'].rows[key] = 1",
        "found = {'a': self.found}; rows = found['a']; rows[key] = 1",
        "found = {}; found['a'] = self.found; same = found; rows = same['a']; rows[key] = 1",
        "found = [one for one in self.found]; found[0][key] = 1",
        "found = self.found if key else {}; found[key] = 1",
        "found = (self.found or {}) if key else {}; found[key] = 1",
        "found = {} if key else (self.found or {}); found[key] = 1",
        "found = {} if key else [] if other else self.found; found[key] = 1",
        "found = self.found if key else [] if other else {}; found[key] = 1",
        "found = {}\n    if key: found = self.found\n    found[key] = 1",
        "found = (one for one in self.found); found[key] = 1",
        "found = dict(self.found); found[key] = 1",
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
