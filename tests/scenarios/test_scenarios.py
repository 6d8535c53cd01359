"""Every scenario of ``cases/``, in one process; those marked ``xdist`` with two workers as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.language import Case, cases_in
from tests.scenarios.running import Zygote, play

CASES = list(cases_in(Path(__file__).with_name("cases")))


def _parameters(cases: list[Case]) -> list[object]:
    marks = [[pytest.mark.xfail(reason=case.xfail, strict=True)] if case.xfail else [] for case in cases]
    return [pytest.param(case, id=case.id, marks=mark) for case, mark in zip(cases, marks, strict=True)]


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote.started(tmp_path_factory.mktemp("zygote")) as started:
        yield started


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: the sockets of child processes that lie under it may not be longer than a hundred bytes."""
    return tmp_path_factory.mktemp("s")


@pytest.mark.parametrize("case", _parameters(CASES))
def test_scenario(case: Case, zygote: Zygote, home: Path) -> None:
    play(case, home, zygote, workers=False)


@pytest.mark.parametrize("case", _parameters([case for case in CASES if case.xdist]))
def test_scenario_with_two_workers(case: Case, zygote: Zygote, home: Path) -> None:
    play(case, home, zygote, workers=True)
