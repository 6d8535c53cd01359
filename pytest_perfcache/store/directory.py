"""The project's cache directory."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# 1: first format.
SCHEMA: Final = 1
"""Version of everything below the directory; a higher one starts beside the old one."""

_FILES: Final = {
    # Written first: what a killed process leaves behind stays out of version control.
    ".gitignore": "# Created by pytest-perfcache.\n*\n",
    "CACHEDIR.TAG": (
        "Signature: 8a477f597d28d172789f06886806bc55\n"
        "# This file is a cache directory tag created by pytest-perfcache.\n"
        "# See https://bford.info/cachedir/spec.html\n"
    ),
    "README.md": (
        "# pytest-perfcache\n\n"
        "What pytest-perfcache remembers of this project's tests between runs.\n"
        "It can be deleted at any time: the next run records anew. Do not commit it.\n"
    ),
}
_EXISTS: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})


def prepare_directory(directory: Path) -> Path:
    """Create the cache directory with its files as one step, and return its sub-directory of this schema.

    Raises OSError when that is not possible.
    """
    if not directory.is_dir():
        _create(directory)
    versioned = directory / f"v{SCHEMA}"
    versioned.mkdir(exist_ok=True)
    return versioned


def _create(directory: Path) -> None:
    """Fill a sibling and rename it, so that nobody ever sees half a directory.

    As pytest's own cacheprovider does; the loser of a race removes its sibling.
    """
    sibling = directory.with_name(f"{directory.name}-{os.urandom(8).hex()}")
    # Not tempfile.mkdtemp: its mode 0700 would shut out those the umask lets in.
    sibling.mkdir()
    try:
        for name, text in _FILES.items():
            (sibling / name).write_text(text, encoding="utf-8")
        sibling.rename(directory)
    except OSError as error:
        import shutil

        shutil.rmtree(sibling, ignore_errors=True)
        if error.errno not in _EXISTS or not directory.is_dir():
            raise
