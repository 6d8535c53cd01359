"""Counting what an unchanged run executes, by reasons that are alike on every machine."""

from __future__ import annotations

import pytest

from benchmarks.session import Run, Verdict
from benchmarks.uncacheable import account, kind_of, page


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("not cacheable: starts a program: cat /tmp/tmpj12ffmzr", "starts a program: cat"),
        ("not cacheable: starts a program: /usr/bin/less -R", "starts a program: less"),
        ("not cacheable: starts a program that left no trace: python3", "starts a program that left no trace: python3"),
        ("not cacheable: reads a.txt, which test_a.py::test_1 wrote", "reads a file that another test wrote"),
        ("not cacheable: connects to ('10.0.0.1', 80)", "connects to a server"),
        (
            "not cacheable: python -c import shop\nshop.run(): connects to ('10.0.0.1', 80)",
            "in a child: connects to a server",
        ),
        ("not cacheable: a file changed while the test ran", "a file changed while the test ran"),
        ("failed last time", "failed last time"),
        ("not a clean pass last time: skipped", "not a clean pass last time: skipped"),
        ("changed: block:shop.py::price changed", "changed"),
    ],
)
def test_a_reason_is_told_without_paths_arguments_and_test_names(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind


def verdict(reason: str) -> Verdict:
    return Verdict("run", reason, "passed", 0.0)


def test_what_did_not_pass_left_nothing_to_cache_and_is_counted_apart() -> None:
    verdicts = {
        "a": verdict("not cacheable: starts a program: cat /tmp/1"),
        "b": verdict("not cacheable: starts a program: cat /tmp/2"),
        "c": verdict("not a clean pass last time: skipped"),
        "d": verdict("unchanged"),
    }
    run = Run(0, 1.0, 1, dict.fromkeys("abcd", "passed"), frozenset("abc"), verdicts=verdicts)

    found = account("shop==1", run)

    assert (found.uncacheable, found.nothing) == (
        {"starts a program: cat": 2},
        {"not a clean pass last time: skipped": 1},
    )
    assert "| shop==1 | 4 | 1 | 2 | 50.0 % | starts a program: cat 2 |" in page([found], "3.11")
