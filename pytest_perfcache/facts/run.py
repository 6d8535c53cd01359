"""Facts of the run as a whole: interpreter, platform, options, ini values, plugins, working directory.

Only what can change a result counts. An option is left out where it only chooses, orders, distributes or shows tests;
one that is not known here counts.
"""

from __future__ import annotations

import locale
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Final

from pytest_perfcache.facts.digest import fingerprint_all, fingerprint_text
from pytest_perfcache.model import Fingerprint, Kind

_HARMLESS_OPTIONS: Final = frozenset(
    """
    basetemp cacheclear cacheshow code_highlight collect_in_virtualenv collectonly color debug deselect dist
    distload doctest_continue_on_failure durations durations_min exitfirst failedfirst file_or_dir fold_skipped
    force_short_summary fulltrace help ignore ignore_glob inifilename junitprefix keepduplicates keyword
    last_failed_no_failures lf looponfail loadgroup loadscopereorder log_cli_date_format log_cli_format
    log_cli_level log_file log_file_date_format log_file_format log_file_level log_file_mode markexpr maxfail
    maxprocesses maxschedchunk maxworkerrestart newfirst no_fold_skipped no_header no_loadscope_reorder no_summary
    numprocesses override_ini pastebin pyargs px quiet reportchars rootdir rsyncdir rsyncignore setuponly setupplan
    setupshow show_capture show_fixtures_per_test showfixtures showlocals stepwise stepwise_reset stepwise_skip
    strict_config tbstyle testrunuid trace traceconfig tx usepdb usepdb_cls verbose version xfail_tb xmlpath
    """.split()
)
_HARMLESS_INI: Final = re.compile(
    r"addopts|cache_dir|collect_imported_tests|console_output_style|faulthandler_.*|junit_.*|log_cli.*|log_file.*"
    r"|looponfailroots|markers|minversion|norecursedirs|perfcache_.*|python_(classes|files|functions)|required_plugins"
    r"|rsync.*|strict_config|testpaths|tmp_path_retention_.*|verbosity_.*"
)
_WELL_KNOWN_VARIABLES: Final = """
    LANG LANGUAGE LC_ALL LC_COLLATE LC_CTYPE LC_MONETARY LC_NUMERIC LC_TIME TZ PYTHONHASHSEED PYTHONIOENCODING
    PYTHONPATH PYTHONUTF8 PYTHONWARNINGS
    """.split()
"""Read by the C library or the interpreter itself, where nobody sees it."""


def run_facts(
    *,
    options: Mapping[str, object],
    ini: Mapping[str, object],
    plugins: Iterable[tuple[str, str]],
    environ: Mapping[str, str],
    directory: str,
    root: str,
) -> dict[str, Fingerprint]:
    """The facts by key. ``plugins``: name and version; ``directory``: where pytest was started, from the root.

    Paths under ``root`` read the same in every checkout.
    """
    texts = {f"{Kind.RUN}:{name}": value for name, value in _interpreter().items()}
    texts[f"{Kind.RUN}:directory"] = directory
    for name in _WELL_KNOWN_VARIABLES:
        if name in environ:
            texts[f"{Kind.RUN}:{name}"] = environ[name]
    for name, value in options.items():
        if _counts(name, value):
            texts[f"{Kind.OPTION}:{name}"] = _text(value)
    for name, value in ini.items():
        if not _HARMLESS_INI.fullmatch(name):
            texts[f"{Kind.INI}:{name}"] = _text(value)
    for name, version in plugins:
        texts[f"{Kind.PLUGIN}:{name}"] = version
    facts = {key: fingerprint_text(text.replace(root, ".")) for key, text in texts.items()}
    facts[f"{Kind.RUN}:set of options, ini values and plugins"] = fingerprint_all(sorted(texts))
    return facts


def _interpreter() -> dict[str, str]:
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()} {sys.version}",
        "platform": f"{sys.platform} {platform.machine()}",
        # Without a locale Python turns this mode on and sets a variable, by which its children get the same without it.
        "flags": re.sub(r"utf8_mode=\d", f"encoding={locale.getpreferredencoding(False).lower()}", repr(sys.flags)),
    }


def _counts(name: str, value: object) -> bool:
    unset = value is None or value is False or value in ("", 0) or value == []
    return not unset and name not in _HARMLESS_OPTIONS and not name.startswith(("perfcache_", "testmon"))


def _text(value: object) -> str:
    """The value without addresses, which differ from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
