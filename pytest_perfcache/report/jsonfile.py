"""The report for programs. Its form is versioned: fields are added within a version, never changed or taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pytest_perfcache.model import Outcome
from pytest_perfcache.report.stats import Session

VERSION: Final = 1


def document(session: Session) -> dict[str, Any]:
    """The report as plain data, see ``docs/reference/json-report.md``."""
    totals = session.totals()
    return {
        "version": VERSION,
        "summary": {
            "tests": totals.hits + totals.runs,
            "hits": totals.hits,
            "runs": totals.runs,
            "hit_rate": totals.hit_rate,
            "saved": totals.saved,
            "spent": totals.spent,
            "seconds": session.seconds,
            "workers": session.workers,
            "efficiency": session.efficiency,
            "reasons": dict(session.by_reason()),
        },
        "parallel": None if session.parallel is None else session.parallel._asdict(),
        "tests": {nodeid: _test(session, nodeid) for nodeid in session.nodeids()},
    }


def _test(session: Session, nodeid: str) -> dict[str, Any]:
    verdict, result = session.verdicts.get(nodeid), session.results.get(nodeid)
    hit = result is None
    return {
        "verdict": "hit" if hit else "run",
        "reason": "" if verdict is None else str(verdict),
        "outcome": (verdict.outcome if verdict else Outcome.PASSED).value if result is None else result.outcome.value,
        "duration": 0.0 if result is None else result.duration,
        "worker": None if result is None else result.worker,
    }


def write(session: Session, path: Path) -> None:
    """Raises OSError when the file can not be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(session), indent=1) + "\n", encoding="utf-8")
