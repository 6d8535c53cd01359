"""The order of a serial run: what failed first, then the fastest, without tearing shared fixtures apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import pytest

from pytest_perfcache.model import Reason, Verdict
from pytest_perfcache.run.config import settings_of

_WIDE = frozenset(("class", "module", "package", "session"))


def arrange(items: Sequence[pytest.Item], verdicts: Mapping[str, Verdict], config: pytest.Config) -> list[pytest.Item]:
    """Modules stay whole; inside a module the order changes only where no wider fixture is shared.

    Nothing moves where the user asked for an order (``--ff``, ``--nf``, ``--sw``), where no duration is known, or
    where a wider fixture is parametrized, since pytest groups tests by its parameters across modules.
    """
    option = config.option
    asked = any(getattr(option, name, False) for name in ("failedfirst", "newfirst", "stepwise"))
    if asked or settings_of(config).order == "file" or any(map(_has_wide_parameters, items)):
        return list(items)
    modules = [list(group) for _, group in groupby(items, key=lambda item: item.nodeid.partition("::")[0])]
    ordered = sorted(modules, key=lambda module: min(_rank(item, verdicts) for item in module))
    return [item for module in ordered for item in _within(module, verdicts)]


def _within(module: list[pytest.Item], verdicts: Mapping[str, Verdict]) -> list[pytest.Item]:
    if any(map(_shares, module)):
        return module
    return sorted(module, key=lambda item: _rank(item, verdicts))


def _rank(item: pytest.Item, verdicts: Mapping[str, Verdict]) -> tuple[bool, float]:
    """Failed before first, then by seconds; unknown ones count as short, for they are news."""
    verdict = verdicts[item.nodeid]
    return verdict.reason not in (Reason.FAILED, Reason.FLAKY), verdict.duration or 0.0


def _definitions(item: pytest.Item) -> list[pytest.FixtureDef[object]]:
    # The names are public, what they stand for is not; without it the order stays as it is.
    info = getattr(item, "_fixtureinfo", None)
    return [found[-1] for found in info.name2fixturedefs.values() if found] if info is not None else []


def _shares(item: pytest.Item) -> bool:
    return any(definition.scope in ("class", "module") for definition in _definitions(item))


def _has_wide_parameters(item: pytest.Item) -> bool:
    return any(definition.scope in _WIDE and definition.params for definition in _definitions(item))
