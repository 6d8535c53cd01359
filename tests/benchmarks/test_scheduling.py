"""What the benchmarks of scheduling compute from what they measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from random import Random

import pytest

from benchmarks.scheduling import real
from benchmarks.scheduling.real import OTHERS, SCHEDULERS, Run, efficiency, page, ratio
from benchmarks.scheduling.simulator import Suite, longest_first
from benchmarks.scheduling.sleeping import SECONDS, SHAPES, lower_bound
from pytest_perfcache.schedule.jobs import Claim, Job


def a_round(name: str, ours: float, *others: float) -> list[Run]:
    seconds = (ours, *others)
    return [
        Run(name, "log-normal", 2, scheduler, each, 0.5) for scheduler, each in zip(SCHEDULERS, seconds, strict=True)
    ]


def test_the_ratio_is_to_the_best_of_the_others_in_the_same_round() -> None:
    runs = a_round("1", 3.0, 5.0, 2.0, 4.0, 6.0)

    assert ratio({run.scheduler: run for run in runs}) == 1.5


def test_a_row_has_the_medians_of_whole_rounds() -> None:
    rounds = [a_round("1", 1.0, *[2.0] * len(OTHERS)), a_round("2", 3.0, *[3.0] * len(OTHERS))]
    unfinished = a_round("3", 100.0, *[1.0] * len(OTHERS))[:2]
    last = page([*rounds[0], *rounds[1], *unfinished], "command").splitlines()[-1]

    assert last == "| log-normal | 2 | 2 | 5.00 | 2.00 (0.50) |" + " 2.50 (0.50) |" * len(OTHERS) + " 0.80 | 0.75 |"


def test_efficiency_sets_apart_what_passed_before_each_workers_first_test() -> None:
    assert efficiency(["1 0.0 2.0", "2 1.0 2.0"], 2) == 1.0
    assert efficiency(["1 0.0 1.0", "2 0.0 2.0"], 2) == 0.75


def test_a_worker_that_ran_nothing_lowers_the_efficiency() -> None:
    assert efficiency(["1 0.0 2.0"], 2) == 0.5


def test_an_interrupt_keeps_the_rounds_that_were_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, pending = tmp_path / "results.jsonl", [1.0] * len(SCHEDULERS)

    def run_suite(*_: object) -> tuple[float, float]:
        if not pending:
            raise KeyboardInterrupt
        return pending.pop(), 1.0

    monkeypatch.setattr(real, "run_suite", run_suite)
    monkeypatch.setattr(real, "prepare", lambda directory, _: directory.mkdir())
    real.main(["--suites", "log-normal", "--workers", "2", "--results", str(results)])

    kept = [json.loads(line) for line in results.read_text().splitlines()]
    assert [each["scheduler"] for each in kept] == list(SCHEDULERS)
    assert real.read(results)[0] == Run(**asdict(real.read(results)[0]))


@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_suite_can_keep_all_workers_busy(shape: str, workers: int) -> None:
    modules = SHAPES[shape](Random(shape), workers)
    tests = [test for module in modules for test in module]

    assert lower_bound(modules, workers) == pytest.approx(sum(test.seconds for test in tests) / workers)
    assert lower_bound(modules, workers) == pytest.approx(SECONDS, rel=0.02)


def test_the_greedy_schedule_follows_the_durations_it_is_told_and_takes_the_true_ones() -> None:
    suite = Suite((Job("a", 1.0), Job("b", 1.0), Job("c", 2.0)), {"a": 1.0, "b": 1.0, "c": 2.0})

    assert longest_first(suite, 2, suite.truth) == 2.0
    assert longest_first(suite, 2, {"a": 2.0, "b": 2.0, "c": 1.0}) == 3.0


def test_where_tests_depend_on_each_other_there_is_no_greedy_yardstick() -> None:
    assert longest_first(Suite((Job("a", 1.0, claims=(Claim("db"),)),), {"a": 1.0}), 2, {"a": 1.0}) is None
