"""Many callers of one client and a server that is full: who goes when. No waiting here and no locks.

A server that takes 256 requests refuses most of 600 that come at once, and says when to come again. If
each of them tried again by itself, nearly as many would be refused again. So a client learns from its
refusals how many of its calls the server holds, keeps the others back, and sends one when one ends:
the one that has waited longest.
"""

from __future__ import annotations

import heapq
import math
from typing import Callable, Optional

import grpc

from .errors import PrecisError, make_error
from .retry import RetryPolicy


class Window:
    """How many calls may be out at once. Without a limit, until a full server refuses one."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.out = 0
        self.refusal: Optional[PrecisError] = None  # the last one
        self._limit = math.inf
        self._successes = 0  # since then
        self._pause = 0.0
        self._try_at = math.inf

    def has_room(self, now: float) -> bool:
        # When the server's time has come one call may try, also when none of ours has ended: others' may
        # have, and ours may all be streams without a reader.
        return self.out + 1 <= self._limit or now >= self._try_at

    def next_try(self) -> float:
        """When there is room though no call has ended; inf: never."""
        return self._try_at

    def take(self, now: float) -> None:
        if self.out + 1 > self._limit:
            self._try_at = now + self._pause
        self.out += 1

    def give_back(self, error: Optional[PrecisError], now: float) -> None:
        """A call has ended, with that error."""
        if error is None:
            self._grow(now)
        elif self._policy.waits_for_turn(error):
            self._shrink(error, now)
        elif error.code is grpc.StatusCode.UNAVAILABLE:
            self.forget()
        self.out -= 1

    def forget(self) -> None:
        """The server has gone: calls that wait find out at once, and the next server is another."""
        self._limit = math.inf

    def reset(self) -> None:
        """None is out any more: their stream has ended."""
        self.forget()
        self.out = 0

    def _grow(self, now: float) -> None:
        if math.isinf(self._limit):
            return
        self._successes += 1
        self._try_at = now + self._pause
        if 2 * self.out < self._limit:  # far from the limit, so this says nothing about it
            return
        # One more in each round, so that few are refused; after two rounds without a refusal one for
        # each success, which doubles it in a round.
        fast = self._successes > 2 * self._limit
        self._limit = max(self._limit, float(self.out)) + (1.0 if fast else 1 / max(self._limit, 1.0))

    def _shrink(self, error: PrecisError, now: float) -> None:
        self.refusal = error
        self._successes = 0
        # What else is out, the server holds, or will refuse as well.
        self._limit = min(self._limit, float(self.out - 1))
        self._pause = error.retry_after or 0.0
        self._try_at = now + self._pause


class Line:
    """The calls that wait for room in a window. The number of a call is its place, and it keeps it when
    it is refused and comes back: first come, first served.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self._numbers = 0
        self._wake: dict[int, Callable[[], None]] = {}
        self._order: list[int] = []  # a heap of numbers; those without a wake have left

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def enter(self, number: int, wake: Callable[[], None], now: float) -> bool:
        """True: it may go, and is out. Else `wake` is called when try_to_go is worth calling."""
        self._wake[number] = wake
        heapq.heappush(self._order, number)
        return self.try_to_go(number, now)

    def try_to_go(self, number: int, now: float) -> bool:
        if self._first() != number or not self.window.has_room(now):
            return False
        self.window.take(now)
        self.leave(number)
        return True

    def leave(self, number: int) -> None:
        self._wake.pop(number, None)
        self._wake_first()

    def give_back(self, error: Optional[PrecisError], now: float) -> None:
        self.window.give_back(error, now)
        self._wake_first()

    def next_try(self, number: int) -> float:
        """When to call try_to_go though nothing woke it; inf: never."""
        return self.window.next_try() if self._first() == number else math.inf

    def _first(self) -> Optional[int]:
        while self._order and self._order[0] not in self._wake:
            heapq.heappop(self._order)
        return self._order[0] if self._order else None

    def _wake_first(self) -> None:
        first = self._first()
        if first is not None:
            self._wake[first]()


def too_late(refusal: Optional[PrecisError], attempts: int) -> PrecisError:
    """Of a call whose deadline came before its turn."""
    said = f": {refusal.message}" if refusal else ""
    error = make_error(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"the deadline passed before this call's turn at a full server{said}",
        reason=refusal.reason if refusal else "",
        retry_after=refusal.retry_after if refusal else None,
    )
    error.attempts = attempts
    return error
