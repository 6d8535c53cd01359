"""What is known of the programs of the system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_perfcache.trace.filters import Needs, needs, understood


def known(command: str, **environ: str) -> Needs | None:
    name, *arguments = command.split(" ")
    return understood(name, arguments, environ)


@pytest.mark.parametrize(
    ("command", "files", "reads_input"),
    [
        ("cat", (), True),
        ("cat a b", ("a", "b"), False),
        ("cat a -", ("a",), True),
        ("cat -n --squeeze-blank -- -a", ("-a",), False),
        ("head -n 3 a", ("a",), False),
        ("head -n3", (), True),
        ("head -qc 3 a", ("a",), False),
        ("tail -v a", ("a",), False),
        ("wc -lw a", ("a",), False),
        ("sed s/a/b/ a", ("a",), False),
        ("sed -E s|a\\|b|c|g;s,x,y,2", (), True),
        ("sed -i -E s/a/b/ a b", ("a", "b"), False),
        ("true a b", (), False),
        ("printf %s --help", (), False),
    ],
)
def test_files_and_input_are_told_from_the_command_line(
    command: str, files: tuple[str, ...], reads_input: bool
) -> None:
    found = known(command)
    assert found is not None
    assert (found.files, found.reads_input) == (files, reads_input)
    assert "LC_ALL" in found.variables


@pytest.mark.parametrize(
    "command",
    [
        "tail -f a",
        "head --lines=3",
        "head -n",
        "cat --unheard-of",
        "sed -i* s/a/b/ a",
        "sed -i 1d a",
        "sed s/a/b/w a",
        "sed s/a/b/e",
        "sed 1d",
        "sed -e s/a/b/",
        "sed -f script",
        "sed",
        "less -o log",
        "less +!reboot",
        "sort a",
        "python3 a",
    ],
)
def test_what_is_not_understood_in_full_is_not_known(command: str) -> None:
    assert known(command) is None


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("sed s/a/b/ a", ()),
        ("sed -i s/a/b/ a", ("a",)),
        ("sed -i~ s/a/b/ a b", ("a", "a~", "b", "b~")),
        ("sed s/a/b/ -n -i.bak a", ("a", "a.bak")),
    ],
)
def test_an_edit_in_place_writes_what_it_reads(command: str, written: tuple[str, ...]) -> None:
    found = known(command)
    assert found is not None
    assert found.written == written


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Needs | None]:
    """What is known of a script for the shell with this text."""

    def needs_of(text: str) -> Needs | None:
        (tmp_path / "script").write_text(f"#!/bin/sh\n{text}")
        return needs(str(tmp_path / "script"), ["argument"], {"PATH": f"{tmp_path}:/usr/bin:/bin"})

    return needs_of


def test_a_script_of_known_commands_is_known(script: Callable[[str], Needs | None], tmp_path: Path) -> None:
    found = script("# says it\n\necho 'a b' \"c\"\n  cat one - two\nexit 3\n")
    assert found is not None
    assert {"/bin/sh", "one", "two", f"{tmp_path}/cat"} < set(found.files)
    assert found.reads_input
    assert {"PATH", "LC_ALL"} <= set(found.variables)
    plain = script("echo a")
    assert plain is not None
    assert not plain.reads_input


@pytest.mark.parametrize(
    "text",
    [
        "echo $HOME",
        "cat *",
        "cat <a",
        "cat a | cat",
        "cat a; cat b",
        "echo `date`",
        "echo 'a",
        "a=b cat",
        "if true\nthen\nexit 1\nfi",
        "date",
        "exec cat",
        "/bin/cat a",
        "echo a \\\necho b",
        "echo a\x1cb",
        "echo \u00e9",
        "{ cat; }",
        "cat ~/a",
        "no-such-program",
    ],
)
def test_a_script_that_is_not_understood_in_full_is_not_known(script: Callable[[str], Needs | None], text: str) -> None:
    assert script(text) is None


def test_a_command_of_a_script_that_is_no_program_of_the_system_is_not_known(
    script: Callable[[str], Needs | None], tmp_path: Path
) -> None:
    (tmp_path / "cat").write_text("#!/bin/sh\ncat\n")
    (tmp_path / "cat").chmod(0o755)
    assert script("cat a") is None


def test_a_pager_depends_on_its_keys_and_variables() -> None:
    found = known("less -R a", HOME="/home/me", XDG_CONFIG_HOME="/home/me/xdg")
    assert found is not None
    assert {"a", "/home/me/.less", "/home/me/.lesskey", "/home/me/xdg/lesskey", "/etc/lesskey"} <= set(found.files)
    assert {"LESS", "LESSOPEN", "HOME"} <= set(found.variables)


@pytest.mark.parametrize("variable", ["LESSOPEN", "LESSCLOSE", "MORE", "LESSKEYIN"])
def test_a_pager_with_a_variable_that_tells_it_more_is_not_known(variable: str) -> None:
    assert known("less", **{variable: "x"}) is None
    assert known("less", **{variable: ""}) is not None


@pytest.mark.parametrize(("options", "harmless"), [("-R -F", True), ("FRX", True), ("-o log", False), ("-R+q", False)])
def test_options_in_a_variable_have_to_be_understood_too(options: str, harmless: bool) -> None:
    assert (known("less", LESS=options) is not None) is harmless


def test_only_programs_of_the_system_count(tmp_path: Path) -> None:
    (tmp_path / "cat").symlink_to("/usr/bin/cat")
    assert needs(str(tmp_path / "cat"), [], {}) is None
