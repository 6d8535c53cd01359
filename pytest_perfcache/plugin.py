"""The entry point: options, markers, and which parts to start. Everything else is imported only when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_perfcache.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Generator

_EXPLAIN = "--perfcache-explain"

MARKERS = (
    "perfcache(cache=True, depends=[globs], env=[names]): what pytest-perfcache cannot see by itself.",
    "resource(name, amount=None, shared=False): the test needs all of this resource, or an amount, while it runs.",
    "serial: no other test runs beside this one.",
    "parallel_safe: other tests may run beside this one.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("perfcache", "skip tests whose result is proved unchanged")
    for option in OPTIONS:
        if option.switch:
            group.addoption(option.flag, dest=option.dest, action="store_const", const=option.on, help=option.help)
        elif option.flag == _EXPLAIN:
            group.addoption(
                option.flag, dest=option.dest, nargs="?", const="", metavar=option.metavar, help=option.help
            )
        else:
            group.addoption(option.flag, dest=option.dest, metavar=option.metavar, help=option.help)
        if option.persistent:
            parser.addini(option.dest, option.help, type="string", default=None)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_perfcache import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> Generator[None, Any, Any]:
    _give_back_path(early_config, args)
    from pytest_perfcache.run.config import stop_tracing
    from pytest_perfcache.run.faults import harmless
    from pytest_perfcache.run.starting import begin_tracing, unrewritten

    with harmless("records nothing"), unrewritten():
        begin_tracing(early_config)
    try:
        return (yield)
    except BaseException:
        stop_tracing(early_config)
        raise


def _give_back_path(config: pytest.Config, args: list[str]) -> None:
    """A bare ``--perfcache-explain`` takes no value; argparse gave it the path that stands behind it."""
    if _EXPLAIN not in args:
        return
    at = args.index(_EXPLAIN)
    args[at] = f"{_EXPLAIN}="
    known = config.known_args_namespace
    if known.perfcache_explain:
        known.file_or_dir.insert(0, known.perfcache_explain)
        known.perfcache_explain = ""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    from pytest_perfcache.run.faults import harmless
    from pytest_perfcache.run.starting import takes_part, unrewritten

    with harmless("takes no part in this run"), unrewritten():
        if takes_part(config):
            from pytest_perfcache.run.session import configure

            configure(config)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    if config.option.perfcache_show is None:
        return None
    from pytest_perfcache.run.session import show

    return show(config)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    from pytest_perfcache.run.config import stop_tracing
    from pytest_perfcache.run.starting import takes_part

    stop_tracing(config)
    if takes_part(config):
        from pytest_perfcache.run.garbage import sweep

        sweep(config)
