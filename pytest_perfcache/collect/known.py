"""The modules that need not be collected in this run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pytest_perfcache.collect.sketch import Sketch
from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Reason, Verdict


class Unneeded(NamedTuple):
    """A module whose tests are all hits."""

    entry: str | None
    """What its import puts on ``sys.path``, from the root."""
    tests: int
    seconds: float
    """How long its tests took when they last ran."""
    left_out: int
    """Tests of which nothing is known, because what is selected now takes them away."""
    as_selected: bool
    """Whether it was known under the very selection of this run."""


class Known(NamedTuple):
    """By path, with ``read`` for the bytes of a module's sketch."""

    modules: Mapping[str, Unneeded]
    read: Callable[[str], bytes | None]

    def sketch(self, path: str) -> Sketch | None:
        """The tests of a module; None where they are not to be had: then it has to be collected."""
        data = self.read(path)
        try:
            return None if data is None else Sketch.from_bytes(data)
        except CodecError:
            return None

    def verdict(self, nodeid: str) -> Verdict:
        """The verdict of each test of a module."""
        module = self.modules[nodeid.partition("::")[0]]
        return Verdict(Reason.HIT, duration=module.seconds / module.tests)


NOTHING = Known({}, lambda _: None)
