"""Which options, ini values, plugins and variables are facts of a run."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_perfcache.facts.run import run_facts
from pytest_perfcache.model import Fact, Kind


def facts(**given: Any) -> dict[str, bytes]:
    usual: dict[str, Any] = {
        "options": {"pythonwarnings": ["error"], "verbose": 0},
        "ini": {"filterwarnings": ["error"]},
        "plugins": [("pytest-asyncio", "1.0")],
        "environ": {"HOME": "/home/one", "TZ": "UTC"},
        "directory": ".",
        "root": "/home/one/project",
    }
    return run_facts(**(usual | given))


def changed(**given: Any) -> set[str]:
    before, after = facts(), facts(**given)
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} - {SET}


SET = "run:set of options, ini values and plugins"


def test_every_key_has_a_kind_of_its_own() -> None:
    assert {Fact(key, value).kind for key, value in facts().items()} == {
        Kind.RUN,
        Kind.OPTION,
        Kind.INI,
        Kind.PLUGIN,
    }


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"options": {"pythonwarnings": ["ignore"]}}, "option:pythonwarnings"),
        ({"options": {"pythonwarnings": ["error"], "own_option": "x"}}, "option:own_option"),
        ({"ini": {"filterwarnings": ["default"]}}, "ini:filterwarnings"),
        ({"plugins": [("pytest-asyncio", "1.1")]}, "plugin:pytest-asyncio"),
        ({"plugins": []}, "plugin:pytest-asyncio"),
        ({"environ": {"TZ": "CET"}}, "run:TZ"),
        ({"environ": {}}, "run:TZ"),
        ({"environ": {"TZ": "UTC", "PYTHONHASHSEED": "0"}}, "run:PYTHONHASHSEED"),
        ({"directory": "tests"}, "run:directory"),
    ],
)
def test_what_can_change_a_result_is_a_fact(given: dict[str, Any], key: str) -> None:
    assert changed(**given) == {key}


@pytest.mark.parametrize(
    "given",
    [
        {"options": {"pythonwarnings": ["error"], "verbose": 3}},
        {"options": {"pythonwarnings": ["error"], "keyword": "fast", "numprocesses": 8, "lf": True}},
        {"options": {"pythonwarnings": ["error"], "perfcache_stats": "true"}},
        {"options": {"pythonwarnings": ["error"], "own_option": None, "other": False, "list": []}},
        {"ini": {"filterwarnings": ["error"], "addopts": "-q", "testpaths": ["tests"], "log_cli": True}},
        {"ini": {"filterwarnings": ["error"], "perfcache_ttl": "1d", "markers": ["slow"]}},
        {"environ": {"HOME": "/home/two", "TZ": "UTC", "LS_COLORS": "x"}},
    ],
)
def test_what_only_chooses_orders_or_shows_tests_is_none(given: dict[str, Any]) -> None:
    assert changed(**given) == set()


def test_another_checkout_has_the_same_facts() -> None:
    here = facts(options={"rootpath_of_data": "/home/one/project/data"})
    there = facts(options={"rootpath_of_data": "/ci/build/data"}, root="/ci/build")

    assert here == there


def test_an_option_that_is_new_changes_the_set_which_is_a_fact_of_every_test() -> None:
    assert facts()[SET] != facts(options={"pythonwarnings": ["error"], "own_option": "x"})[SET]


def test_addresses_of_objects_do_not_count() -> None:
    assert facts(options={"hook": object()}) == facts(options={"hook": object()})
