"""Which price earns most: a pure computation that takes its time."""

MARKET = 12_000
"""Customers that the search looks at; its time grows with their number times the prices tried."""


def willingness(customer: int, cost: int) -> int:
    """Return the most that a customer pays, in cents: the cost and a share of it that differs by customer."""
    return cost + cost * (customer * 7919 % 1009) // 1009


def best_price(cost: int, market: int = MARKET) -> tuple[int, int]:
    """Return the price between the cost and twice the cost, and its profit, both in cents.

    Every price is tried with every customer. The lowest of several equally good prices is taken.
    """
    limits = [willingness(customer, cost) for customer in range(market)]
    best = (cost, 0)
    for price in range(cost, 2 * cost + 1):
        buyers = 0
        for limit in limits:
            if limit >= price:
                buyers += 1
        profit = buyers * (price - cost)
        if profit > best[1]:
            best = (price, profit)
    return best
