"""Where a setting comes from, and what is said of one that will not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.errors import SettingsError
from pytest_perfcache.settings import OPTIONS, ORDERS, Option, Settings, parse_size, parse_span

ROOT = Path("/project")
GOOD = {
    "enabled": ("true", "0", "Yes", "off"),
    "dir": ("cache", "/var/cache"),
    "ttl": ("7d", "90 s", "1.5h", "10"),
    "size_limit": ("500MB", "1 GiB", "12"),
    "flaky_passes": ("0", "7", " 2 "),
    "order": ORDERS,
    "resources": ("gpu=2", "gpu=2, licence = 10", "gpu=2\nroom 1=3\n", ""),
    "locks": ("locks", "/var/lock/tests"),
    "parallel": ("all", "marked"),
    "shard": ("1/1", "2/5", " 3 / 3 "),
    "replay": ("gw0",),
    "verify": ("0.5", "1"),
    "stats": ("1", "no"),
    "explain": ("", "tests/test_a.py::test_b"),
    "show": ("true", "false"),
    "clear": ("on", "false"),
    "report": ("json:out.json", "json:a:b.json"),
}
BAD = {
    "enabled": ("maybe", "2"),
    "ttl": ("soon", "7 years", "-1d", ""),
    "size_limit": ("big", "5 XB", "-1", "9" * 400, "9" * 5000),
    "flaky_passes": ("-1", "two", "1.5", "", "²", "9" * 5000),
    "order": ("random", "AUTO"),
    "resources": ("gpu", "gpu=", "=2", "gpu=0", "gpu=-1", "gpu=two", "gpu=1=2", "gpu=2 db=1"),
    "parallel": ("some", ""),
    "replay": ("", "gw 0"),
    "verify": ("half", "-1", "2"),
    "shard": ("", "1", "0/2", "3/2", "a/b", "1/0", "1/2/3", "-1/2"),
    "stats": ("perhaps",),
    "show": ("perhaps",),
    "clear": ("perhaps",),
    "report": ("html:x", "json:", "json", ""),
}


def gather(
    command_line: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    ini: dict[str, str] | None = None,
) -> Settings:
    return Settings.gather(command_line or {}, environ or {}, (ini or {}).get, ROOT)


def value(settings: Settings, option: Option) -> Any:
    return getattr(settings, option.name)


def expected(option: Option, text: str | None) -> Any:
    found = option.default if text is None else option.parse(text)
    return ROOT / found if option.name in {"dir", "locks"} and found is not None else found


def test_the_examples_here_speak_of_every_option() -> None:
    assert GOOD.keys() == {option.name for option in OPTIONS}
    assert BAD.keys() == GOOD.keys() - {"dir", "explain", "locks"}


@given(st.data(), st.sampled_from(OPTIONS))
def test_the_command_line_comes_before_the_environment_before_the_ini_file_before_the_default(
    data: st.DataObject, option: Option
) -> None:
    texts = st.none() | st.sampled_from(GOOD[option.name])
    line, variable, ini = data.draw(texts), data.draw(texts), data.draw(texts)

    def only(key: str, text: str | None) -> dict[str, str]:
        return {} if text is None else {key: text}

    settings = gather(only(option.dest, line), only(option.variable, variable), only(option.dest, ini))

    sources = (line, variable, ini) if option.persistent else (line,)
    first = next((text for text in sources if text is not None), None)
    assert value(settings, option) == expected(option, first)


@given(st.data(), st.sampled_from(OPTIONS))
def test_one_option_leaves_the_others_at_their_defaults(data: st.DataObject, option: Option) -> None:
    settings = gather({option.dest: data.draw(st.sampled_from(GOOD[option.name]))})

    for other in OPTIONS:
        if other is not option:
            assert value(settings, other) == expected(other, None)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_options_for_one_run_only_are_not_taken_from_environment_or_ini(option: Option) -> None:
    text = GOOD[option.name][0]
    settings = gather(environ={option.variable: text}, ini={option.dest: text})

    assert value(settings, option) == expected(option, text if option.persistent else None)


CASES = [(option, text) for option in OPTIONS for text in BAD.get(option.name, ())]


@pytest.mark.parametrize(("option", "text"), CASES, ids=lambda case: str(getattr(case, "name", case))[:20])
def test_a_value_that_will_not_do_is_named_with_its_place_and_what_is_taken(option: Option, text: str) -> None:
    places: list[tuple[str, dict[str, Any]]] = [(option.flag, {"command_line": {option.dest: text}})]
    if option.persistent:
        places.append((option.variable, {"environ": {option.variable: text}}))
        places.append((option.dest, {"ini": {option.dest: text}}))
    for where, given_ in places:
        with pytest.raises(SettingsError) as caught:
            gather(**given_)
        message = str(caught.value)
        assert message.startswith(f"{where}: {text!r}")
        assert "; it takes " in message


@given(st.sampled_from(OPTIONS), st.text(max_size=20))
def test_any_text_is_taken_or_refused_with_words_of_ours(option: Option, text: str) -> None:
    said = ""
    try:
        gather({option.dest: text})
    except SettingsError as error:
        said = str(error)
    assert said == "" or (said.startswith(f"{option.flag}: ") and "; it takes " in said)


@pytest.mark.parametrize(
    ("text", "size"), [("1kB", 1000), ("1 KiB", 1024), ("1.5mb", 1_500_000), ("2GiB", 2**31), ("7", 7), ("7B", 7)]
)
def test_sizes_are_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("2m", 120), ("1.5H", 5400), ("7d", 604_800), ("1 w", 604_800)]
)
def test_spans_are_in_seconds(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


def test_the_directory_is_seen_from_the_root() -> None:
    assert gather({"perfcache_dir": "x/y"}).dir == ROOT / "x" / "y"
    assert gather({"perfcache_dir": "/elsewhere"}).dir == Path("/elsewhere")
