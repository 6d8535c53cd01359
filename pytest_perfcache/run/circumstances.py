"""What this run asks for, as far as it concerns every test."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import pytest

from pytest_perfcache.decide.verify import Conditions
from pytest_perfcache.facts.places import Places
from pytest_perfcache.run.config import is_named, named_node_ids, reason_for_off
from pytest_perfcache.settings import Settings


class Circumstances(NamedTuple):
    """What this run asks for, the same for all tests but for those it names."""

    now: float
    ttl: float
    off: str
    named: tuple[str, ...]
    last_failed: bool
    verify: float
    """The share of the hits, between 0 and 1, that run all the same."""

    @classmethod
    def of(cls, config: pytest.Config, places: Places, *, now: float, settings: Settings) -> Circumstances:
        return cls(
            now=now,
            ttl=settings.ttl,
            verify=settings.verify,
            off=reason_for_off(config),
            named=named_node_ids(config, places),
            last_failed=bool(getattr(config.option, "lf", False)),
        )

    def conditions(self, nodeid: str, marked: str = "") -> Conditions:
        return Conditions(
            marked=marked,
            chosen=self._draws(nodeid),
            now=self.now,
            ttl=self.ttl,
            off=self.off,
            named=is_named(nodeid, self.named),
            last_failed=self.last_failed,
        )

    def _draws(self, nodeid: str) -> bool:
        """Whether the test is drawn for verification; every run draws anew."""
        return self.verify > 0 and Random(f"{self.now} {nodeid}").random() < self.verify
