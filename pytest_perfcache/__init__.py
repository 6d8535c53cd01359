"""Skip the tests whose result is proved unchanged; run the rest in the best order."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not imported: every Python process that a test starts would pay for it
if TYPE_CHECKING:
    from pytest_perfcache.schedule.meta import claims

__version__ = "0.1.0"
__all__ = ["__version__", "claims"]


def __getattr__(name: str) -> object:
    """Import what conftest files need only where one asks for it."""
    if name == "claims":
        from pytest_perfcache.schedule.meta import claims

        return claims
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
