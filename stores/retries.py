"""Trying again what may succeed a moment later."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from holdall.stores.errors import TemporarilyUnavailable

__all__ = ["RetryPolicy"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to repeat what fails with `TemporarilyUnavailable`; every other error is final.

    Attributes:
        patience: Seconds after the first failure in which a repetition may begin; 0 for none.
        first_wait: Seconds before the first repetition; each wait is twice the one before, less up to half by chance.
        longest_wait: Seconds that no wait exceeds, unless the service asks for more.
    """

    patience: float = 30.0
    first_wait: float = 0.05
    longest_wait: float = 4.0

    def run(self, action: Callable[[], T]) -> T:
        """Call `action` until it succeeds.

        Raises:
            TemporarilyUnavailable: It went on failing so for as long as patience lasts.
        """
        try:
            return action()
        except TemporarilyUnavailable as error:
            failure = error
        deadline, wait = time.monotonic() + self.patience, self.first_wait
        while True:
            pause = max(wait * random.uniform(0.5, 1), failure.retry_after)
            if time.monotonic() + pause > deadline:
                raise failure
            time.sleep(pause)
            wait = min(2 * wait, self.longest_wait)
            try:
                return action()
            except TemporarilyUnavailable as error:
                failure = error
