"""Fill the terminal screens of the docs: `python -m docs.make_screens [--check] [PAGE...]`.

A page says where a screen belongs and which command makes it:

    <!-- screen: python -m pytest -->
    ```console
    $ python -m pytest
    (what the command printed)
    ```
    <!-- /screen -->

`<!-- do: COMMAND -->` runs a command and shows nothing, for an edit between two screens.
The commands of a page run in the order they stand in, in one fresh copy of `example_project`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN_HOME = "/home/you/example_project"
SECONDS_PER_COMMAND = 120

Runner = Callable[[str], str]

_STEP = re.compile(
    r"^<!-- do: (?P<do>.+?) -->$"
    r"|^(?P<open><!-- screen: (?P<screen>.+?) -->\n)(?P<body>.*?)(?P<close>^<!-- /screen -->$)",
    re.MULTILINE | re.DOTALL,
)
_CHANGES_BY_ITSELF = (
    (re.compile(r"\d+(\.\d+)? ?(s|ms|KB|MB|seconds?)\b"), "N"),
    (re.compile(r"\b\d+\.\d+[\w.]*"), "VERSION"),
    (re.compile(r"^platform .*$|^plugins: .*$", re.MULTILINE), "HERE"),
    (re.compile(r"=+"), "="),
)


class ScreenError(Exception):
    """A command of a page failed, or a page has a screen that is never closed."""


def fill(text: str, run: Runner) -> str:
    """Return the page with each screen filled by `run(COMMAND)`, in the order of the page."""

    def step(match: re.Match[str]) -> str:
        if match["do"] is not None:
            run(match["do"])
            return match[0]
        return f"{match['open']}{_fenced(match['screen'], run(match['screen']))}{match['close']}"

    opened = len(re.findall(r"^<!-- screen: ", text, re.MULTILINE))
    if opened != sum(match["screen"] is not None for match in _STEP.finditer(text)):
        raise ScreenError("a screen is not closed by <!-- /screen -->")
    return _STEP.sub(step, text)


def same(old: str, new: str) -> bool:
    """Tell whether two pages differ in nothing but durations, sizes, versions and the platform."""
    return _steady(old) == _steady(new)


def _fenced(command: str, output: str) -> str:
    return f"```console\n$ {command}\n{output.rstrip()}\n```\n"


def _steady(text: str) -> str:
    for pattern, name in _CHANGES_BY_ITSELF:
        text = pattern.sub(name, text)
    return text


def shell(directory: Path) -> Runner:
    """Return what runs a command with `sh` in the directory and gives its output.

    The command sees this interpreter as `python`, 80 columns and no settings of the caller's pytest run.
    A command that fails, or takes more than 120 seconds, raises ScreenError; end it in `|| true` where
    failing is what the page shows.
    """
    ours = ("PERFCACHE_", "PYTEST_", "SHOP_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}",
    }

    def run(command: str) -> str:
        try:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS_PER_COMMAND,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            raise ScreenError(f"{command!r} took more than {SECONDS_PER_COMMAND} s") from expired
        if done.returncode:
            raise ScreenError(f"{command!r} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout.replace(str(directory), SHOWN_HOME)

    return run


def fill_page(page: Path) -> str:
    """Return the page's text with its commands run in a fresh copy of `example_project`."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="screens-") as name:
        directory = Path(name).resolve() / "example_project"
        ignore = shutil.ignore_patterns("__pycache__", ".*cache")
        shutil.copytree(ROOT / "example_project", directory, ignore=ignore)
        return fill(text, shell(directory))


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the pages, or with `--check` only compare; return 1 when a page is out of date."""
    parser = argparse.ArgumentParser(description="Fill the terminal screens of the docs.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a page is out of date")
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="default: all pages with screens")
    options = parser.parse_args(arguments)
    stale = 0
    for page in options.pages or sorted((ROOT / "docs").rglob("*.md")):
        old = page.read_text(encoding="utf-8")
        if not _STEP.search(old):
            continue
        new = fill_page(page)
        if same(old, new):
            continue
        stale += 1
        sys.stdout.write(f"{page}: {'out of date' if options.check else 'written'}\n")
        if not options.check:
            page.write_text(new, encoding="utf-8")
    return int(options.check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
