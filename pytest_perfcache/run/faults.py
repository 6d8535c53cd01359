"""A fault of this plugin must not break a run: it costs hits or records, and is told once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class PerfcacheWarning(pytest.PytestWarning):
    """pytest-perfcache could not do its part; the tests are not affected."""


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Turn any error of the block into a warning that says what does not happen now.

    Errors that are addressed to the user, and ends of the session, pass.
    """
    try:
        yield
    except pytest.UsageError:
        raise
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = "" if where is None else f" at {where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
        warnings.warn(PerfcacheWarning(f"pytest-perfcache {what}: {error!r}{place}"), stacklevel=2)
