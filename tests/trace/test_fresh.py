"""What a module's body changes of others: what it made itself is nobody's business."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pytest_perfcache.trace.effects import effects

_SHOP = """
import collections

class Cart:
    shared = []
    def __init__(self):
        self.items = [1]
        self.prices = PRICES

class Listed:
    made = []
    def __init__(self):
        self.items = []
        Listed.made.append(self)

class Single:
    found = None
    items = []
    def __new__(cls):
        cls.found = cls.found or super().__new__(cls)
        return cls.found

PRICES = {}

def get():
    return PRICES
"""


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("fresh_shop")
    exec(_SHOP, module.__dict__)
    monkeypatch.setitem(sys.modules, "fresh_shop", module)
    return module


def changed_by(body: str) -> set[str]:
    code = compile(f"import collections, fresh_shop\nfrom fresh_shop import *\n{body}", "user.py", "exec")
    namespace: dict[str, object] = {"__name__": "user"}
    exec(code, namespace)
    return set(effects(code, namespace))


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "body",
    [
        "cart = Cart()\ncart.items.append(1)",
        "cart = Cart()\ncart.items[0] = 2\ncart.size = 1\ncart.size += 1",
        "cart = fresh_shop.Cart()\ncart.items.append(1)",
        "rows = []\nrows.append(PRICES)",
        "rows = [1, 2, 3]\nrows[0] = 2",
        "rows = [x for x in (1, 2)]\nrows.append(3)",
        "rows = {x: x for x in PRICES}\nrows['a'] = len(PRICES)",
        "rows = list(PRICES)\nrows.append(3)",
        "rows = sorted(PRICES)\nrows.append(3)",
        "rows = collections.defaultdict(list)\nrows['a'].append(3)\nrows['b'] = 1",
        "rows = {**PRICES, 'a': 1}\nrows['b'] = 2",
        "rows: list[int] = []\nrows.append(1)",
        "class Mine: pass\nMine.items = []\nMine.size = 1",
        "def mine(): pass\nmine.rate = 1",
    ],
)
def test_what_was_made_here(body: str) -> None:
    assert changed_by(body) == set()


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("PRICES['a'] = 1", "PRICES"),
        ("table = PRICES\ntable['a'] = 1", "PRICES"),
        ("table = fresh_shop.PRICES\ntable.update(a=1)", "PRICES"),
        ("table = get()\ntable['a'] = 1", "get"),
        ("table = get()\nother = table\nother['a'] = 1", "PRICES"),
        ("table = get() or {}\ntable['a'] = 1", "get"),
        ("table = {} if len(PRICES) > 5 else PRICES\ntable['a'] = 1", "PRICES"),
        ("cart = Cart()\ncart.prices['a'] = 1", "PRICES"),
        ("cart = Cart()\ncart.shared.append(1)", "shared"),
        ("cart = Cart\ncart.shared.append(1)", "shared"),
        ("cart = Listed()\ncart.items.append(1)", "items"),
        ("cart = Listed()\ncart.items[0:] = [1]", "items"),
        ("cart = Cart()\nrows = [cart.items]\ncart.items.append(2)", "items"),
        ("cart = Cart()\ncarts = [cart]\ncart.items.append(2)", "items"),
        ("single = Single()\nsingle.items.append(1)", "items"),
        ("single = Single()\nsingle.size = 1", "size"),
        ("tables = [PRICES]\ntables[0]['a'] = 1", "PRICES"),
        ("fresh_shop.RATE = 1", "RATE"),
    ],
)
def test_what_others_hold(body: str, name: str) -> None:
    assert name in changed_by(body)
