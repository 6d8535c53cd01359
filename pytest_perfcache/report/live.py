"""The live line: what runs now, the longest first, and the time left. Pure; times are seconds of one clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


class Progress:
    """What is known of a run while it runs."""

    def __init__(self) -> None:
        self.workers = 1
        self._expected: Mapping[str, float] = {}
        self._running: Final[dict[str, float]] = {}
        self._done: Final[set[str]] = set()
        self._left = 0.0

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Expected durations of all tests of the run, by node id; none where nothing is known of any."""
        if len(seconds) != len(self._expected):
            self._expected = dict(seconds)
            self._left = sum(value for nodeid, value in seconds.items() if nodeid not in self._done)

    def start(self, nodeid: str, now: float) -> None:
        """A test has begun."""
        self._running[nodeid] = now

    def finish(self, nodeid: str) -> None:
        """A test is over, or was lost."""
        self._running.pop(nodeid, None)
        if nodeid not in self._done:
            self._done.add(nodeid)
            self._left -= self._expected.get(nodeid, 0.0)

    def left(self, now: float) -> float | None:
        """Expected seconds until the end; None where that is not known."""
        if not self._expected:
            return None
        remaining = [max(0.0, self._expected.get(nodeid, 0.0) - now + start) for nodeid, start in self._running.items()]
        begun = sum(self._expected.get(nodeid, 0.0) for nodeid in self._running)
        return max([(self._left - begun + sum(remaining)) / max(1, self.workers), *remaining])

    def line(self, now: float, width: int) -> str:
        """At most so many characters; empty where nothing runs."""
        if not self._running:
            return ""
        left = self.left(now)
        end = "" if left is None else f", {_clock(left)} left"
        parts: list[str] = []
        for nodeid, start in sorted(self._running.items(), key=lambda entry: entry[1]):
            more = len(self._running) - len(parts) - 1
            part = f"{nodeid} {now - start:.0f} s"
            if parts and len(f"running: {', '.join((*parts, part))}, {more} more{end}") > width:
                parts.append(f"{more + 1} more")
                break
            parts.append(part)
        text = _printable(f"running: {', '.join(parts)}")
        room = width - len(end)
        return (text if len(text) <= room else f"{text[: max(0, room - 1)]}…") + end


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _printable(text: str) -> str:
    """One column a character: what is wide, or moves the cursor, would break the line."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)
