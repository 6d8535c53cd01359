"""A process that has pytest loaded and forks once for each session that it is asked to run.

Started as a script, so that nothing of these tests is loaded in it. One JSON object a line comes in
(``args``, ``environ``, ``directory``, ``output``); the exit code goes out, negative for a signal.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from typing import Any, NoReturn

_WARM = """
    pytest xdist.plugin xdist.dsession xdist.scheduler xxhash diskcache sqlite3 unittest asyncio
    pytest_perfcache.plugin pytest_perfcache.hookspecs pytest_perfcache.run.session pytest_perfcache.report.jsonfile
    """.split()
_SECONDS = 60
"""After this long a session is killed."""


def main() -> None:
    sys.path[:] = [entry for entry in sys.path if entry not in ("", os.path.dirname(os.path.abspath(__file__)))]
    for name in _WARM:
        importlib.import_module(name)
    # pytest warns of plugins that were loaded before it could rewrite their asserts; this one has none to show.
    sys.modules["xdist"].__doc__ = "PYTEST_DONT_REWRITE"
    _load_pytests_own_plugins()
    print("ready", flush=True)  # noqa: T201 - this is how it answers
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _session(**json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def _load_pytests_own_plugins() -> None:
    """Importing pytest leaves most of them out; asking for its version brings them in."""
    import pytest

    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    pytest.main(["--version", "-p", "no:perfcache", "-p", "no:cacheprovider"])
    sys.stdout.flush()
    os.dup2(out, 1)


def _session(args: list[str], environ: dict[str, str], directory: str, output: str) -> NoReturn:
    code: Any = 70
    try:
        signal.alarm(_SECONDS)
        null, out = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.clear()
        os.environ.update(environ)
        time.tzset()
        os.chdir(directory)
        sys.argv = ["pytest", *args]
        import pytest

        code = pytest.main(args)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))


if __name__ == "__main__":
    main()
