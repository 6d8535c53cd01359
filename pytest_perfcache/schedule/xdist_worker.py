"""The worker's side of the scheduler: tells what was collected, offers a pause, heeds the stop.

Register `WorkerSide(config)` on a worker whose `workerinput` has `LINK`. The pause is an item after all
collected ones. As the next item it makes pytest tear down everything but the session's fixtures; its own
protocol does nothing. pytest-xdist never reports it: it is appended after the collection was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_perfcache.schedule.jobs import SESSION, Claim
from pytest_perfcache.schedule.meta import CLAIMS_ATTRIBUTE, ResourceError, TestMeta, encode, encode_error, parse_claim

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

LINK: Final = "perfcache_link"
"""The key in `workerinput` of the channel between the scheduler and a worker."""

PAUSES: Final = "perfcache_pauses"
"""Whether the scheduler sends pauses, which it does where it is not one of xdist's own."""

STOP: Final = "stop"


class PauseItem(pytest.Item):
    """Runs nothing. Hooks that look at every item may ask `isinstance(item, PauseItem)`."""

    def runtest(self) -> None:
        """Nothing to run."""

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Where the item is, which is nowhere."""
        return str(self.config.rootpath), None, self.name


class WorkerSide:
    """A plugin object for one worker."""

    def __init__(self, config: pytest.Config) -> None:
        self._link: Final[Any] = config.workerinput[LINK]  # type: ignore[attr-defined]
        self._pauses: Final[bool] = config.workerinput.get(PAUSES, True)  # type: ignore[attr-defined]
        self._stopped = False
        self._link.setcallback(self._receive)

    @property
    def stopped(self) -> bool:
        """Whether the controller wants no test to begin any more."""
        return self._stopped

    def _receive(self, message: object) -> None:
        """Called in execnet's receiver thread, before what the controller sent later."""
        if message == STOP:
            self._stopped = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Send the meta of all tests ahead of xdist's message with their ids; append the pause behind it."""
        try:
            message = encode([meta_of(item) for item in session.items])
        except ResourceError as error:
            message = encode_error(error)
        self._link.send(message)
        result = yield
        if self._pauses:
            session.items.append(PauseItem.from_parent(session, name="perfcache-pause"))
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Run no pause, and no test after the stop: what is still set up is torn down at session end."""
        if self._stopped:
            item.session.shouldstop = "stopped by the controller"
            return True
        return True if isinstance(item, PauseItem) else None


def meta_of(item: pytest.Item) -> TestMeta:
    """What the item declares by marks and by the fixtures it uses; raises ResourceError."""
    nodes = tuple(node.nodeid or SESSION for node in item.listchain()[:-1])
    fixtures = list(shared_fixtures(item))
    scopes = (*nodes, *dict.fromkeys(scope for _, scope in fixtures if scope not in nodes))
    return TestMeta(
        nodeid=item.nodeid,
        file=item.nodeid.split("::", 1)[0],
        scopes=scopes,
        claims=claims_of(item),
        fixtures=tuple(fixtures),
        group="_".join(sorted(set(_groups(item)))),
        alone=item.get_closest_marker("serial") is not None,
        parallel_safe=item.get_closest_marker("parallel_safe") is not None,
    )


def claims_of(item: pytest.Item) -> tuple[Claim, ...]:
    """What the item and its fixtures claim; raises ResourceError."""
    own = [parse_claim(mark.args, mark.kwargs, where=item.nodeid) for mark in item.iter_markers("resource")]
    lent = [
        Claim(claim.resource, claim.amount, claim.shared, holder=name, scope=scope)
        for name, scope, claims in _claims_of_fixtures(item)
        for claim in claims
    ]
    return tuple(dict.fromkeys([*own, *lent]))


def _groups(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("xdist_group"):
        yield str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))


def _fixture_definitions(item: pytest.Item) -> Iterable[Any]:
    """The definition in force of each fixture in the item's closure."""
    info = getattr(item, "_fixtureinfo", None)
    return [found[-1] for found in info.name2fixturedefs.values() if found] if info else []


def shared_fixtures(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """Name and scope; each value of a parametrized fixture is a scope of its own, to keep its tests together."""
    callspec = getattr(item, "callspec", None)
    indices = callspec.indices if callspec is not None else {}
    for definition in _fixture_definitions(item):
        if definition.scope != "function":
            name, scope = definition.argname, _scope_node(item, definition)
            yield name, f"{scope} with {name} {indices[name]}" if name in indices else scope


def _claims_of_fixtures(item: pytest.Item) -> Iterator[tuple[str, str, tuple[Claim, ...]]]:
    """Holder, scope and claims; a fixture of function scope claims like the test itself."""
    for definition in _fixture_definitions(item):
        claims = getattr(definition.func, CLAIMS_ATTRIBUTE, ())
        if claims and definition.scope == "function":
            yield "", "", claims
        elif claims:
            yield definition.argname, _scope_node(item, definition), claims


def _scope_node(item: pytest.Item, definition: Any) -> str:
    """The node id of the collector a fixture lives in; outside a class, class scope is the module's."""
    node: pytest.Collector | None = None
    if definition.scope == "class":
        node = item.getparent(pytest.Class)
    if definition.scope in ("class", "module"):
        node = node or item.getparent(pytest.Module)
    if definition.scope == "package":
        packages = [node for node in item.listchain() if isinstance(node, pytest.Package)]
        node = next((package for package in packages if package.nodeid == definition.baseid), None)
    return (node.nodeid or SESSION) if node else SESSION
