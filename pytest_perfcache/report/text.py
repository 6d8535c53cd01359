"""What the terminal says, as plain lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_perfcache.model import ModuleRecords, Verdict
from pytest_perfcache.report.stats import Parallel, Session
from pytest_perfcache.store.protocol import StoreStats

_MODULES = 10
_SLOWEST = 5


def header(directory: str, modules: int, workers: str = "") -> str:
    """The one line at the top of a run."""
    known = f"{modules} test module{'s' if modules != 1 else ''} known" if modules else "nothing recorded yet"
    return f"perfcache: {directory}, {known}{workers and f', {workers}'}"


def summary(session: Session) -> list[str]:
    """Hit rate, time saved, parallel efficiency; nothing where no test was selected."""
    totals = session.totals()
    if totals.hit_rate is None:
        return []
    parts = [f"hit rate {percent(totals.hit_rate)} ({totals.hits} of {totals.hits + totals.runs})"]
    parts.append(f"{seconds(totals.saved)} saved")
    if session.efficiency is not None:
        workers = f"{session.workers} worker{'s' if session.workers != 1 else ''}"
        parts.append(f"parallel efficiency {percent(session.efficiency)} on {workers}")
    return [", ".join(parts)]


def long_form(session: Session, store: StoreStats) -> Iterator[str]:
    """The sections of ``--perfcache-stats``."""
    yield "by module:"
    modules = sorted(session.by_module().items(), key=lambda entry: -entry[1].spent)
    for path, totals in modules[:_MODULES]:
        yield (
            f"  {path}: {totals.hits} cached ({seconds(totals.saved)} saved), "
            f"{totals.runs} ran ({seconds(totals.spent)})"
        )
    if len(modules) > _MODULES:
        yield f"  and {len(modules) - _MODULES} more modules"
    if session.results:
        yield "by reason:"
        for reason, count in session.by_reason():
            yield f"  {count} ran: {reason}"
        yield "slowest that ran:"
        for result in session.slowest(_SLOWEST):
            yield f"  {seconds(result.duration)} {result.nodeid}"
    if session.parallel is not None:
        yield from parallel(session.parallel)
    yield f"store: {size(store.size_bytes)} in {store.entries} entries, {store.evictions} evictions"


def parallel(found: Parallel) -> Iterator[str]:
    """Where the workers' time went, and what would help."""
    yield f"workers: {percent(found.efficiency)} busy once they had collected, {seconds(found.wall)} in all"
    for name, spent in found.by_worker.items():
        yield f"  {name}: {seconds(spent)} in tests"
    yield (
        f"  lost: {seconds(found.start_up)} start-up, {seconds(found.collection)} collection, "
        f"{seconds(found.gaps)} between tests, {seconds(found.tail)} idle at the end"
    )
    for resource, spent in found.waiting.items():
        yield f"  waited {seconds(spent)} for {resource or 'their turn'}"
    tests = ", ".join(found.critical_path[:_SLOWEST])
    yield f"  critical path: {seconds(found.critical_seconds)}, {tests}"
    yield f"  one more worker would have saved {seconds(found.one_more)} at best"


def explain(verdicts: Mapping[str, Verdict], prefix: str) -> Iterator[str]:
    """A line a test: hit or run, and why."""
    for nodeid, verdict in sorted(verdicts.items()):
        if nodeid.startswith(prefix):
            yield f"{'hit' if verdict.hit else 'run'} {nodeid}: {verdict}"


def show(modules: list[ModuleRecords], store: StoreStats) -> Iterator[str]:
    """What is remembered, for ``--perfcache-show``."""
    for module in modules:
        records = sum(len(history.records) for history in module.tests.values())
        yield f"{module.path}: {len(module.tests)} tests, {records} records"
        for nodeid, history in module.tests.items():
            state = history.untracked or (history.last.value if history.last else "")
            took = "" if history.duration is None else f", {seconds(history.duration)}"
            yield f"  {nodeid}: {state}{took}, {len(history.records)} records"
    yield f"store: {size(store.size_bytes)} in {store.entries} entries"


def percent(share: float) -> str:
    """One decimal, and 100 % only for all of it."""
    tenths = int(share * 1000 + 1e-9)
    return f"{tenths / 10:g} %"


def seconds(value: float) -> str:
    return f"{value:.2f}s" if value >= 0.01 or value == 0 else f"{value * 1000:.2f}ms"


def size(count: int) -> str:
    """Bytes in decimal units."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
