"""Write the reference pages whose contents are in the code: `python -m docs.generate [--check]`.

A page says where generated text belongs, and keeps everything else:

    <!-- generated: NAME -->
    (what the code says)
    <!-- /generated -->
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pytest_perfcache import hookspecs
from pytest_perfcache.decide.table import TABLE
from pytest_perfcache.model import Reason
from pytest_perfcache.plugin import MARKERS
from pytest_perfcache.settings import OPTIONS, Option

DOCS = Path(__file__).resolve().parent
_PART = re.compile(r"(?s)(?P<open><!-- generated: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(?P<close><!-- /generated -->)")


class PageError(Exception):
    """A page asks for a text that nobody generates, or leaves one open."""


def options() -> str:
    """One section an option: every way to give it, its default and what it takes."""
    return "\n".join(map(_option, OPTIONS))


def _option(option: Option) -> str:
    optional = option.name == "explain"
    value = "" if option.switch else f"[={option.metavar}]" if optional else f"={option.metavar}"
    rows = [("command line", f"`{option.flag}{value}`")]
    if option.persistent:
        rows += [("environment", f"`{option.variable}`"), ("ini file", f"`{option.dest}`")]
    else:
        rows.append(("environment, ini file", "no: it asks for the output of one run"))
    rows += [("takes", _takes(option)), ("default", _default(option))]
    return f"## {option.name}\n\n{option.help}\n\n{_table(('', ''), rows)}\n"


def _takes(option: Option) -> str:
    """What the option's parser says when it refuses a value; a text where it refuses none."""
    for nonsense in ("?", "\0"):
        try:
            option.parse(nonsense)
        except ValueError as error:
            taken = str(error).removeprefix("takes ")
            return f"nothing on the command line; {taken} elsewhere" if option.switch else taken
    return "a node id or the start of one; nothing for all tests" if option.name == "explain" else "a path"


def _default(option: Option) -> str:
    if option.default is None or option.default == {}:
        return "none"
    units = {"ttl": " seconds (7d)", "size_limit": " bytes (500MB)"}
    shown = str(option.default).lower() if isinstance(option.default, bool) else f"{option.default}"
    return f"`{shown.removesuffix('.0')}`{units.get(option.name, '')}"


def decisions() -> str:
    """The decision table, rule by rule."""
    rows = [(str(r.number), r.when, "**hit**" if r.reason is Reason.HIT else "run", r.reason.value) for r in TABLE]
    return _table(("", "when", "verdict", "reason"), rows)


def markers() -> str:
    """One line a marker."""
    rows = [(f"`@pytest.mark.{marker}`", text.strip()) for marker, _, text in map(_marker, MARKERS)]
    return _table(("marker", "what it says"), rows)


def _marker(line: str) -> tuple[str, str, str]:
    return line.partition(": ")


def hooks() -> str:
    """One section a hook: its signature and its docstring."""
    found = [(name, hook) for name, hook in vars(hookspecs).items() if name.startswith("pytest_perfcache_")]
    return "\n".join(
        f"### `{name}`\n\n```python\ndef {name}{inspect.signature(hook)}: ...\n```\n\n{inspect.getdoc(hook)}\n"
        for name, hook in found
    ).replace("'", "")


PARTS: Mapping[str, Callable[[], str]] = {
    "options": options,
    "decisions": decisions,
    "markers": markers,
    "hooks": hooks,
}


def fill(text: str) -> str:
    """The page with each part as the code has it now; `PageError` where a part is unknown or not closed."""

    def part(match: re.Match[str]) -> str:
        if match["name"] not in PARTS:
            raise PageError(f"nobody generates {match['name']!r}; there is {', '.join(PARTS)}")
        return f"{match['open']}\n{PARTS[match['name']]().strip()}\n\n{match['close']}"

    if len(re.findall(r"(?m)^<!-- generated: [\w-]+ -->$", text)) != len(_PART.findall(text)):
        raise PageError("a generated part is not closed by <!-- /generated -->")
    return _PART.sub(part, text)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments: Sequence[str] | None = None, pages: Iterable[Path] | None = None) -> int:
    """Rewrite the pages, or with `--check` only compare; return 1 when a page is out of date."""
    parser = argparse.ArgumentParser(description="Write the reference pages whose contents are in the code.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a page is out of date")
    checking = parser.parse_args(arguments).check
    stale = 0
    for page in sorted(DOCS.rglob("*.md")) if pages is None else pages:
        old = page.read_text(encoding="utf-8")
        new = fill(old)
        if new != old:
            stale += 1
            sys.stdout.write(f"{page}: {'out of date' if checking else 'written'}\n")
            if not checking:
                page.write_text(new, encoding="utf-8")
    return int(checking and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
