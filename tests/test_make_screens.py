"""The screens in the docs are what the commands beside them print."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.make_screens import ScreenError, fill, main, same, shell

PAGE = """# Page

<!-- screen: echo one -->
```console
$ echo one
old
```
<!-- /screen -->

Text between.

<!-- do: touch made -->
<!-- screen: ls -->
<!-- /screen -->
"""


def test_each_screen_shows_its_command_and_what_it_printed(tmp_path: Path) -> None:
    filled = fill(PAGE, shell(tmp_path))
    assert "```console\n$ echo one\none\n```\n<!-- /screen -->" in filled
    assert "old" not in filled


def test_steps_run_in_the_order_of_the_page_and_show_nothing(tmp_path: Path) -> None:
    ran: list[str] = []

    def remember(command: str) -> str:
        ran.append(command)
        return ""

    filled = fill(PAGE, remember)
    assert ran == ["echo one", "touch made", "ls"]
    assert "<!-- do: touch made -->\n<!-- screen: ls -->" in filled


def test_commands_of_a_page_share_a_directory(tmp_path: Path) -> None:
    assert "$ ls\nmade\n" in fill(PAGE, shell(tmp_path))


@given(st.text(alphabet=st.characters(exclude_characters="<"), max_size=60))
def test_filling_twice_with_the_same_output_changes_nothing_more(output: str) -> None:
    once = fill(PAGE, lambda _: output)
    assert fill(once, lambda _: output) == once


def test_a_page_without_screens_stays_as_it_is(tmp_path: Path) -> None:
    assert fill("# Only text\n", shell(tmp_path)) == "# Only text\n"


@pytest.mark.parametrize("after", ["", PAGE])
def test_a_screen_that_is_never_closed_is_refused_before_anything_runs(after: str) -> None:
    def never(command: str) -> str:
        pytest.fail(f"ran {command}")

    with pytest.raises(ScreenError, match="not closed"):
        fill(f"<!-- screen: echo one -->\n{after}", never)


def test_a_command_that_fails_is_refused_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(ScreenError, match=r"(?s)ended with 3.*why"):
        shell(tmp_path)("echo why; exit 3")


def test_the_settings_of_the_callers_run_do_not_reach_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-x")
    monkeypatch.setenv("SHOP_REGION", "south")
    assert shell(tmp_path)("env | grep -c -e PYTEST -e SHOP_REGION || true") == "0\n"


def test_the_directory_is_shown_under_a_steady_name(tmp_path: Path) -> None:
    assert shell(tmp_path)("pwd") == "/home/you/example_project\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("== 62 passed in 2.94s ==", "=== 62 passed in 12.01s ==="),
        ("platform linux -- Python 3.11.7, pytest-9.2.0", "platform darwin -- Python 3.13.0, pytest-9.3"),
        ("perfcache 0.1.0", "perfcache 0.2.0"),
    ],
)
def test_durations_and_versions_do_not_make_a_page_out_of_date(old: str, new: str) -> None:
    assert same(old, new)


def test_other_counts_make_a_page_out_of_date() -> None:
    assert not same("2 passed, 60 cached in 0.71s", "3 passed, 59 cached in 0.71s")


def test_check_reports_a_page_that_is_out_of_date_and_leaves_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert main(["--check", str(page)]) == 1
    assert "out of date" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8") == PAGE


def test_a_written_page_is_up_to_date(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert main([str(page)]) == 0
    assert main(["--check", str(page)]) == 0
