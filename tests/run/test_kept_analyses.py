"""A source file is analysed once in its life, however often constants beside it change."""

from __future__ import annotations

import re
from pathlib import Path

from tests.run.test_light_modules import Project, Session

COUNTING = """\
import pytest_perfcache.facts.analyses as analyses

analyse, analysed = analyses.analyse, []

def counting(source):
    analysed.append(source)
    return analyse(source)

analyses.analyse = counting

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"analysed: {len(analysed)}")
"""


def analysed(session: Session) -> int:
    return int(re.findall(r"^analysed: (\d+)$", session.output, re.MULTILINE)[0])


def test_only_new_contents_are_analysed(tmp_path: Path) -> None:
    project = Project.below(tmp_path)
    project.write("counting.py", COUNTING)
    options = ("-p", "counting", "-W", "ignore")
    for price in (1, 2):
        project.write("rates.py", f"PRICE = {price}\nOTHER = 1\n")
        project.write("shop.py", "import rates\n\ndef price():\n    return getattr(rates, 'PR' + 'ICE')\n")
        first = project.run(*options)
    assert first.last == "1 passed, 3 cached"
    assert analysed(first) >= 3  # both contents of the rates, and who may look at them

    project.write("rates.py", "PRICE = 3\nOTHER = 1\n")
    assert analysed(project.run(*options)) == 1
    project.write("rates.py", "PRICE = 2\nOTHER = 1\n")
    assert analysed(project.run(*options)) == 0
