"""When a call is tried again, and after how long. No clock sleeps here and no call is made."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from typing import Callable, Optional

import grpc

from . import values
from .errors import PrecisError, deadline_error

# The server that said so is about to end; what it asks to wait is for itself.
LEAVING = ("DRAINING", "STOPPED", "DEVICE_FAILED")


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """What is tried again: UNAVAILABLE and RESOURCE_EXHAUSTED, nothing else. Summaries have no side
    effects, so a second try does no harm, but other errors would come again.

    A server that is full says when to come again (RetryInfo). Such a call waits for its turn until its
    deadline, however often it is refused: see turns.py. Other failures are bounded by the numbers here.

    max_attempts: Most attempts of a call, the first one counted; 1: nothing is tried again.
    initial_backoff: Seconds before the second attempt. Each doubles it, and the wait is drawn between
        half and all of it. Added, drawn from 0 on, to the time that a server asks for.
    max_backoff: Most seconds that the doubling reaches.
    budget_tokens: A server in trouble gets few retries. Each failure of any call takes one token, and
        none is tried again while half or fewer are left. Refusals with a time to wait take none.
    budget_refill: What each success gives back.
    wait_when_full: Whether a refused call waits for its turn. False: refusals count as attempts.
    """

    max_attempts: int = 5
    initial_backoff: float = 0.1
    max_backoff: float = 5.0
    budget_tokens: float = 20.0
    budget_refill: float = 0.1
    wait_when_full: bool = True

    def __post_init__(self) -> None:
        if values.whole("retry.max_attempts", self.max_attempts) < 1:
            raise ValueError("retry.max_attempts: 1 or more")
        values.seconds("retry.initial_backoff", self.initial_backoff)
        values.seconds("retry.max_backoff", self.max_backoff)

    def waits_for_turn(self, error: PrecisError) -> bool:
        """Whether the error is a full server's, which said when to come again."""
        return (
            self.wait_when_full
            and self.max_attempts > 1
            and error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            and error.retry_allowed
            and error.retry_after is not None
        )


class RetryBudget:
    """One for a client; any thread."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tokens = policy.budget_tokens
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        with self._lock:
            refilled = self._tokens + self._policy.budget_refill
            self._tokens = min(self._policy.budget_tokens, refilled)

    def take(self) -> bool:
        """Takes a token for a failure; whether another attempt may be made."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > self._policy.budget_tokens / 2


class Deadline:
    """The moment at which a call ends, whatever its attempts."""

    def __init__(self, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + values.seconds("timeout", timeout)

    def remaining(self) -> float:
        return self._end - self._clock()

    def for_attempt(self) -> float:
        """The time an attempt may take; raises DeadlineExceeded when there is none."""
        left = self.remaining()
        if left <= 0:
            raise deadline_error()
        return left


class Attempts:
    """The attempts of one call."""

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        deadline: Deadline,
        num_addresses: int = 1,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._deadline = deadline
        self._num_addresses = num_addresses
        self._draw = draw
        self.made = 0
        self.failed = 0  # those of them that max_attempts bounds

    def succeeded(self) -> None:
        self._budget.succeeded()

    def delay_after(self, error: PrecisError) -> Optional[float]:
        """Seconds until the next attempt, or None: raise the error."""
        self.made += 1
        error.attempts = self.made
        if not error.retry_allowed:
            return None
        if self._policy.waits_for_turn(error):
            assert error.retry_after is not None
            # Not earlier than asked, not all clients at once, and not so late that others pass all the time.
            spread = min(self._backoff(self.made), max(error.retry_after, self._policy.initial_backoff))
            delay = error.retry_after + self._draw(0.0, spread)
        elif error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
            self.failed += 1
            if not self._budget.take() or self.failed >= self._policy.max_attempts:
                return None
            delay = self._delay(error)
        else:
            return None
        return delay if delay < self._deadline.remaining() else None

    def _delay(self, error: PrecisError) -> float:
        backoff = self._backoff(self.failed)
        # The wish of a server that leaves does not hold for others. Twice as many attempts as servers: not
        # all are connected at first, so one may be asked again.
        others = self._num_addresses > 1 and self.failed < 2 * self._num_addresses
        elsewhere = error.reason in LEAVING and others
        if error.retry_after is None or elsewhere:
            return self._draw(backoff / 2, backoff)
        return error.retry_after + self._draw(0.0, backoff)

    def _backoff(self, failures: int) -> float:
        doubled = self._policy.initial_backoff * 2.0 ** min(failures - 1, 60)
        return min(doubled, self._policy.max_backoff)
