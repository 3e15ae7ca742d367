"""A limit on attempts, by who makes them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from holdall.stores.errors import TemporarilyUnavailable

__all__ = ["Throttle", "TooManyAttempts"]

MOST_KEYS = 20_000
"""Keys that are remembered; of more, those longest unused are forgotten."""


class TooManyAttempts(TemporarilyUnavailable):
    """Too many in too short a time; `retry_after` says when the next may be made."""

    error_code = "REQUEST_LIMIT_EXCEEDED"


class Throttle:
    """So many attempts at once, and then one every so many seconds.

    Args:
        burst: Attempts at once.
        seconds: Between two afterwards.
        clock: Seconds that only grow.
    """

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._seconds = seconds
        self._clock = clock
        self._debts: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # attempts owed, and when that was

    def take(self, key: Hashable) -> None:
        """Count an attempt.

        Raises:
            TooManyAttempts: It may not be made now; then it is not counted.
        """
        debt = self._debt(key)
        if debt > self._burst - 1:
            wait = (debt - (self._burst - 1)) * self._seconds
            raise TooManyAttempts("Too many failed attempts to sign in; try again later.", retry_after=wait)
        self._remember(key, debt + 1)

    def give_back(self, key: Hashable) -> None:
        """Forget an attempt: it was a good one."""
        self._remember(key, max(0.0, self._debt(key) - 1))

    def _debt(self, key: Hashable) -> float:
        owed, since = self._debts.get(key, (0.0, 0.0))
        return max(0.0, owed - (self._clock() - since) / self._seconds)

    def _remember(self, key: Hashable, debt: float) -> None:
        self._debts[key] = (debt, self._clock())
        self._debts.move_to_end(key)
        while len(self._debts) > MOST_KEYS:
            self._debts.popitem(last=False)
