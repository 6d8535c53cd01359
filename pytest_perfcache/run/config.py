"""What pytest's configuration means for this plugin."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_perfcache import __version__
from pytest_perfcache.errors import SettingsError
from pytest_perfcache.settings import OPTIONS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.model import Fingerprint
    from pytest_perfcache.trace.tracing import Tracing

SETTINGS: Final = pytest.StashKey[Settings]()
TRACING: Final[pytest.StashKey[Tracing | None]] = pytest.StashKey()
"""What observes this process now."""

_ENVIRON: Final = pytest.StashKey[dict[str, str]]()

CHOICE: Final = pytest.StashKey[str]()
"""What was decided about the workers, in words; not there where nothing was."""

_OWN: Final = "pytest-perfcache"


def settings_of(config: pytest.Config) -> Settings:
    """Gathered once a session; a value that can not be used is a ``UsageError``."""
    if SETTINGS not in config.stash:
        given: Any = getattr(config, "known_args_namespace", None) or config.option
        command_line = {option.dest: getattr(given, option.dest, None) for option in OPTIONS}
        try:
            settings = Settings.gather(command_line, os.environ, config.getini, config.rootpath)
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from None
        # A test that runs pytest in a child process is traced with all that the child does: it has to do it.
        config.stash[SETTINGS] = settings._replace(enabled=settings.enabled and not _nested())
    return config.stash[SETTINGS]


def environ_of(config: pytest.Config) -> Mapping[str, str]:
    """The environment as it was before the first conftest file was loaded."""
    return config.stash.setdefault(_ENVIRON, dict(os.environ))


def stop_tracing(config: pytest.Config) -> None:
    """Observe this process no longer."""
    tracing = config.stash.get(TRACING, None)
    if tracing is not None:
        config.stash[TRACING] = None
        tracing.stop()


def _nested() -> bool:
    """Whether this process is a traced child, or runs in one: then what does that is loaded."""
    children = sys.modules.get("pytest_perfcache.trace.children")
    return children is not None and bool(children.nested())


def distributes(options: object) -> bool:
    """Whether xdist's workers run the tests, so that this process only controls."""
    return bool(getattr(options, "numprocesses", None) or getattr(options, "tx", None))


def facts_of_run(config: pytest.Config, environ: Mapping[str, str]) -> dict[str, Fingerprint]:
    """The facts of this run that every test depends on."""
    from pytest_perfcache.facts.run import run_facts

    root = str(config.rootpath)
    return run_facts(
        options=vars(config.option),
        ini=_ini(config),
        plugins=_plugins(config),
        environ=environ,
        directory=os.path.relpath(config.invocation_params.dir, root),
        root=root,
    )


def _ini(config: pytest.Config) -> Mapping[str, object]:
    # pytest deprecated `inicfg` in 9.0 and offers nothing to list what the file sets; getini() needs the names.
    found: Mapping[str, object] = config._inicfg if hasattr(config, "_inicfg") else config.inicfg
    return {name: getattr(value, "value", value) for name, value in found.items()}


def _plugins(config: pytest.Config) -> Iterable[tuple[str, str]]:
    yield _OWN, __version__
    for _, distribution in config.pluginmanager.list_plugin_distinfo():
        name = str(distribution.project_name)
        if name != _OWN:
            yield name, str(distribution.version)


def named_node_ids(config: pytest.Config, places: Places) -> tuple[str, ...]:
    """Node ids on the command line, as seen from the root."""
    named = []
    for argument in config.args:
        path, colons, rest = argument.partition("::")
        if colons:
            named.append(f"{places.relative(os.path.join(config.invocation_params.dir, path))}::{rest}")
    return tuple(named)


def named_paths(config: pytest.Config, places: Places) -> Iterator[str]:
    """Paths of files and directories on the command line, as seen from the root."""
    for argument in config.args:
        path = argument.partition("::")[0]
        yield places.relative(os.path.join(config.invocation_params.dir, path))


def is_named(nodeid: str, named: Iterable[str]) -> bool:
    return any(nodeid == name or nodeid.startswith((f"{name}::", f"{name}[")) for name in named)


def shows_terminal(config: pytest.Config) -> bool:
    """Whether pytest writes to a terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    found = getattr(reporter, "isatty", False)  # in pytest 8.4.0 no method
    return bool(found() if callable(found) else found)


def reason_for_off(config: pytest.Config) -> str:
    """Why this run takes no hits at all; empty where it does."""
    option = config.option
    if config.pluginmanager.hasplugin("_cov"):
        return "coverage is being measured"
    if settings_of(config).replay is not None:
        return "--perfcache-replay runs it again"
    for name in ("setupplan", "setuponly", "setupshow"):
        if getattr(option, name, False):
            return f"--{name.replace('setup', 'setup-')} shows what tests do"
    return "--trace asks for a debugger" if getattr(option, "trace", False) else ""
