"""The modules that need not be collected in this run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from pytest_perfcache.collect.sketch import Sketch
from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Reason, Told, Verdict

Location: TypeAlias = tuple[str, int | None, str]
"""As ``item.location``: path from the root, line from 0, and name in the file."""


class Retold(NamedTuple):
    """A hit that is not one of a pass, with what a report of it needs."""

    nodeid: str
    location: Location
    keywords: tuple[str, ...]
    """Those of the test that pytest looks for when it sums up skips."""
    told: Told

    def plain(self) -> list[Any]:
        """As JSON and execnet can carry it."""
        return [self.nodeid, list(self.location), list(self.keywords), self.told.plain()]

    @classmethod
    def restored(cls, plain: Sequence[Any]) -> Retold:
        """What :meth:`plain` gave; ValueError or TypeError for anything else."""
        nodeid, (path, line, domain), keywords, told = plain
        return cls(str(nodeid), (str(path), line, str(domain)), tuple(keywords), Told.restored(told))


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
    told: Mapping[str, Sequence[Any]]
    """By node id: the tests that neither passed nor failed, each a plain :class:`Retold`.

    Of a module that is skipped as a whole, the module itself.
    """

    def skip(self, path: str) -> Told | None:
        """What is told of the module itself, where it is skipped as a whole."""
        row = self.told.get(path)
        return None if row is None else Retold.restored(row).told

    @property
    def marked_late(self) -> bool:
        """Whether how some test ends depends on marks that hooks give it once it is collected."""
        return any(row.told.late for row in self.retold())

    def retold(self) -> Iterator[Retold]:
        return map(Retold.restored, self.told.values())


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
        row = module.told.get(nodeid)
        told = None if row is None else Retold.restored(row).told
        return Verdict(Reason.HIT, duration=module.seconds / module.tests, told=told)


NOTHING = Known({}, lambda _: None)
