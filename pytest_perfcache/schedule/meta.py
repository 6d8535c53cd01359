"""What a worker tells about its tests before the first is handed out: collected there, decoded here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from pytest_perfcache.errors import PerfcacheError
from pytest_perfcache.schedule.jobs import SESSION, Claim, Job, Setup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

VERSION: Final = 1
UNMARKED: Final = "tests not marked parallel_safe"
"""The resource of `perfcache_parallel = marked`: what is not marked runs one at a time."""

UNKNOWN_SETUP: Final = 0.05
"""Seconds a shared fixture is taken to cost before it was measured: enough to keep its tests together."""

CLAIMS_ATTRIBUTE: Final = "__perfcache_claims__"

Function = TypeVar("Function", bound="Callable[..., Any]")
Encoded = dict[str, Any]
"""Only numbers, strings, None, lists and dictionaries with string keys: what execnet takes."""


class ResourceError(PerfcacheError):
    """A resource mark, or capacity, that cannot be used."""


class TestMeta(NamedTuple):
    """One collected test: `fixtures` are the shared ones it uses, as (name, scope they live in)."""

    nodeid: str
    file: str = ""
    scopes: tuple[str, ...] = (SESSION,)
    claims: tuple[Claim, ...] = ()
    fixtures: tuple[tuple[str, str], ...] = ()
    group: str = ""
    alone: bool = False
    parallel_safe: bool = False


TestMeta.__test__ = False  # type: ignore[attr-defined]  # for pytest: it is no class of tests


def claims(resource: str, *, amount: int | None = None, shared: bool = False) -> Callable[[Function], Function]:
    """Decorate a fixture function, below `@pytest.fixture`: its tests claim the resource while it lives."""
    claim = parse_claim((resource,), {"amount": amount, "shared": shared}, where=f"claims({resource!r})")

    def decorate(function: Function) -> Function:
        setattr(function, CLAIMS_ATTRIBUTE, (*getattr(function, CLAIMS_ATTRIBUTE, ()), claim))
        return function

    return decorate


def parse_claim(args: Sequence[object], kwargs: Mapping[str, object], *, where: str) -> Claim:
    """The claim of `@pytest.mark.resource(name, amount=..., shared=...)`; raises ResourceError."""
    unknown = set(kwargs) - {"amount", "shared"}
    amount, shared = kwargs.get("amount"), kwargs.get("shared", False)
    if len(args) != 1 or not isinstance(args[0], str) or not args[0] or unknown:
        raise ResourceError(f"{where}: resource takes one name, then amount= or shared=")
    if not (amount is None or (isinstance(amount, int) and not isinstance(amount, bool) and amount > 0)):
        raise ResourceError(f"{where}: amount must be a positive integer, not {amount!r}")
    if not isinstance(shared, bool) or (shared and amount is not None):
        raise ResourceError(f"{where}: shared must be true or false, and stands without amount")
    return Claim(args[0], amount=amount, shared=shared)


def encode(metas: Sequence[TestMeta]) -> Encoded:
    """Primitives for the channel; what many tests have in common is sent once."""
    profiles: dict[tuple[object, ...], int] = {}
    rows = [profiles.setdefault(_profile(meta), len(profiles)) for meta in metas]
    return {
        "version": VERSION,
        "profiles": [_as_lists(profile) for profile in profiles],
        "rows": rows,
        "nodeids": [meta.nodeid for meta in metas],
    }


def encode_error(error: ResourceError) -> Encoded:
    """What a worker sends when a mark cannot be used."""
    return {"version": VERSION, "error": str(error)}


def decode(encoded: Encoded) -> list[TestMeta]:
    """The metas in the order of collection; raises ResourceError for a worker's error or another version."""
    if encoded.get("version") != VERSION:
        raise ResourceError("the worker runs another version of pytest-perfcache")
    if "error" in encoded:
        raise ResourceError(encoded["error"])
    profiles = [_from_lists(profile) for profile in encoded["profiles"]]
    return [TestMeta(nodeid, *profiles[row]) for nodeid, row in zip(encoded["nodeids"], encoded["rows"], strict=True)]


def plain_meta(nodeid: str) -> TestMeta:
    """What a node id alone tells, for a worker that sent nothing more."""
    path, *names = nodeid.split("::")
    parents = ["::".join([path, *names[:count]]) for count in range(len(names))]
    return TestMeta(nodeid, file=path, scopes=(SESSION, *parents))


def job_of(
    meta: TestMeta,
    seconds: float,
    *,
    setup_seconds: Mapping[tuple[str, str], float] | None = None,
    unknown_setup: float = UNKNOWN_SETUP,
    only_marked: bool = False,
) -> Job:
    """A job with what the test declares; what is known of its past is for the caller to add.

    `setup_seconds` holds measured set-up costs by (fixture, scope), and what is not in it is taken to cost
    `unknown_setup`; `only_marked` is `perfcache_parallel = marked`.
    """
    costs = setup_seconds or {}
    spent: dict[str, float] = {}
    for fixture in meta.fixtures:
        spent[fixture[1]] = spent.get(fixture[1], 0.0) + costs.get(fixture, unknown_setup)
    claimed = meta.claims
    if only_marked and not meta.parallel_safe:
        claimed = (*claimed, Claim(UNMARKED))
    return Job(
        key=meta.nodeid,
        seconds=seconds,
        file=meta.file,
        scopes=meta.scopes,
        claims=claimed,
        setups=tuple(Setup(scope, cost) for scope, cost in spent.items() if cost > 0),
        group=meta.group,
        alone=meta.alone,
    )


def _profile(meta: TestMeta) -> tuple[object, ...]:
    claimed = tuple((c.resource, c.amount, c.shared, c.holder, c.scope) for c in meta.claims)
    return (meta.file, meta.scopes, claimed, meta.fixtures, meta.group, meta.alone, meta.parallel_safe)


def _as_lists(value: object) -> object:
    return [_as_lists(part) for part in value] if isinstance(value, tuple) else value


def _from_lists(profile: list[Any]) -> tuple[Any, ...]:
    file, scopes, claimed, fixtures, group, alone, parallel_safe = profile
    return (
        file,
        tuple(scopes),
        tuple(Claim(*claim) for claim in claimed),
        tuple((name, scope) for name, scope in fixtures),
        group,
        alone,
        parallel_safe,
    )
