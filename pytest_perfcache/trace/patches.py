"""Attributes of others that are replaced while this process is observed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any


class Patches(ExitStack):
    """What was there before comes back with :meth:`close`, the last one first."""

    def put(self, owner: Any, name: str, value: object) -> None:
        """Replace an attribute of a module or class; one that it only inherits is taken away again."""
        if name in vars(owner):
            self.callback(setattr, owner, name, vars(owner)[name])
        else:
            self.callback(delattr, owner, name)
        setattr(owner, name, value)
