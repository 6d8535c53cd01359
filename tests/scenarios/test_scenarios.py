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


@pytest.mark.parametrize("case", _parameters(CASES))
def test_scenario(case: Case, zygote: Zygote, tmp_path: Path) -> None:
    play(case, tmp_path, zygote, workers=False)


@pytest.mark.parametrize("case", _parameters([case for case in CASES if case.xdist]))
def test_scenario_with_two_workers(case: Case, zygote: Zygote, tmp_path: Path) -> None:
    play(case, tmp_path, zygote, workers=True)
