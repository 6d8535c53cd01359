"""The language refuses what it does not know, and a run that is not as expected is told in words."""

from __future__ import annotations

import pytest

from tests.scenarios.language import Expected, Replace, Run, ScenarioError, Write, parse
from tests.scenarios.running import Session, Told, differences

_GOOD = r"""[case a name] xdist
[file a.py]
\[x]

[replace a.py] x -> y\nz
[run -k 'a b']
ran: t[1] u (why)
failed: v
"""


def test_a_case_holds_its_steps_in_order() -> None:
    (case,) = parse(_GOOD, "a.test")
    assert (case.id, case.xdist, case.xfail) == ("a-name", True, "")
    file, replace, run = case.steps
    assert file == Write("a.py", "[x]\n", new=True)
    assert replace == Replace("a.py", "x", "y\nz")
    assert isinstance(run, Run)
    assert run.args == ("-k", "a b")
    assert run.exit == 1
    assert run.tests == (
        Expected("t[1]", "passed", "why"),
        Expected("u", "passed", "why"),
        Expected("v", "failed", "no record"),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "ran: a\n",
        "[case a]\n[file a.py]\n",
        "[case a]\n[run]\n",
        "[case a]\n[run]\nruns: test_a\n",
        "[case a]\n[run]\nran test_a\n",
        "[case a]\n[run]\ncached: test_a (reason)\n",
        "[case a]\n[fly a.py]\n[run]\nran: test_a\n",
        "[case a] sometimes\n[run]\nran: test_a\n",
        "[case a]\n[replace a.py] x\n[run]\nran: test_a\n",
        "[case a]\n[touch a.py]\ntext\n[run]\nran: test_a\n",
        "[case a]\n[env NAME]\n[run]\nran: test_a\n",
        "[case a]\n[run]\nexit: 0\nexit: 1\n",
        "[case a]\n[run]\nran: a\n[case a]\n[run]\nran: a\n",
    ],
)
def test_a_line_that_is_not_understood_is_an_error(wrong: str) -> None:
    with pytest.raises(ScenarioError, match=r"a\.test"):
        parse(wrong, "a.test")


def _run(body: str) -> Run:
    (case,) = parse(f"[case a]\n[run]\n{body}", "a.test")
    (run,) = case.steps
    assert isinstance(run, Run)
    return run


_SESSION = Session(
    exit=0,
    output="something\n==== 1 passed, 1 cached in 0.01s ====\n",
    tests={
        "test_a.py::test_one": Told("passed", "changed: block:a.py::f changed"),
        "test_a.py::test_two": Told("cached", ""),
    },
)


def test_a_session_that_is_as_expected_has_no_differences() -> None:
    run = _run("ran: test_one (block:a.py::f)\ncached: test_two\nlast line: 1 passed, 1 cached\nsays: something\n")
    assert list(differences(run, _SESSION)) == []


@pytest.mark.parametrize(
    ("body", "difference"),
    [
        ("ran: test_one (block:a.py::f)\n", "test_a.py::test_two should not be there"),
        ("ran: test_one test_two (block:a.py::f)\n", "test_two should be passed"),
        ("ran: test_one (env:X)\ncached: test_two\n", "test_one should have run because: env:X"),
        ("cached: test_one test_two\n", "test_one should be cached"),
        ("ran: test_one (f)\ncached: test_two\nexit: 1\n", "the exit code should be 1, not 0"),
        ("ran: test_one (f)\ncached: test_two\nlast line: 2 passed\n", "the last line should be '2 passed'"),
        ("ran: test_one (f)\ncached: test_two\nsays: nothing\n", "it should say: nothing"),
        ("ran: test_one (f)\ncached: test_two\nsays not: something\n", "it should not say: something"),
        ("ran: test_one (f)\ncached: test_two test_three\n", "0 tests have that name"),
        ("ran: test_one (f)\nran: test_one (f)\ncached: test_two\n", "test_one is named twice"),
    ],
)
def test_every_difference_is_told(body: str, difference: str) -> None:
    assert any(told.startswith(difference) or difference in told for told in differences(_run(body), _SESSION))
