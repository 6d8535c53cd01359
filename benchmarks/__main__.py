"""`python -m benchmarks NAME ...` runs `benchmarks.NAME.main` with the remaining arguments."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = (
    "corpus",
    "suites",
    "timing",
    "soundness",
    "scheduling",
    "tracing",
    "uncacheable",
    "startup",
    "guard",
    "recording",
)


def main(arguments: list[str]) -> int:
    """Run the benchmark named first; an unknown name lists those that exist and exits with 2."""
    if not arguments or arguments[0] not in NAMES:
        print(f"usage: python -m benchmarks {{{','.join(NAMES)}}} ...", file=sys.stderr)
        return 2
    status = import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])
    return int(status or 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
