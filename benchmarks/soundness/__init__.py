"""`python -m benchmarks soundness`: does the cache ever hide a failure, and what does it run to be sure?"""

from benchmarks.soundness.cli import main

__all__ = ["main"]
