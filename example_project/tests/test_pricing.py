"""The slow ones: a search for a price around 20.00 takes about half a second."""

import pytest

from shop.pricing import MARKET, best_price, willingness

HAMMER_COST = 1900


@pytest.fixture(scope="module")
def hammer() -> tuple[int, int]:
    """The best price of a hammer and its profit, searched for once for the module."""
    return best_price(HAMMER_COST)


def test_the_best_price_is_above_the_cost(hammer: tuple[int, int]) -> None:
    price, profit = hammer
    assert HAMMER_COST < price < 2 * HAMMER_COST
    assert profit > 0


@pytest.mark.parametrize("step", [-1, 1])
def test_no_neighbouring_price_earns_more(hammer: tuple[int, int], step: int) -> None:
    price, profit = hammer
    other = price + step
    buyers = sum(willingness(customer, HAMMER_COST) >= other for customer in range(MARKET))
    assert buyers * (other - HAMMER_COST) <= profit


@pytest.mark.parametrize("cost", [1250, 1899, 2500, 2900])
def test_the_best_price_is_about_one_and_a_half_times_the_cost(cost: int) -> None:
    price, _ = best_price(cost)
    assert price == pytest.approx(1.5 * cost, rel=0.01)


def test_nobody_to_sell_to_leaves_the_price_at_the_cost() -> None:
    assert best_price(100, market=0) == (100, 0)
