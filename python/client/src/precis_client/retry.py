"""When a call is tried again, and after how long. No clock sleeps here and no call is made."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from typing import Callable, Optional

import grpc

from .errors import PrecisError, deadline_error

RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
# The server that said so is about to end; what it asks to wait is for itself.
LEAVING = ("DRAINING", "STOPPED", "DEVICE_FAILED")


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """UNAVAILABLE and RESOURCE_EXHAUSTED are tried again, nothing else: summaries have no side effects,
    but other errors would come again. The server's word on when (RetryInfo, grpc-retry-pushback-ms)
    goes before our own backoff; an error whose time would be after the deadline is raised at once.
    """

    max_attempts: int = 5  # the first one counted; 1: never again
    initial_backoff: float = 0.1  # seconds; doubled by each attempt, and drawn between half and all of it
    max_backoff: float = 5.0
    # A server in trouble gets few retries: each takes a token, each success gives a tenth of one back,
    # and none is made with half of them or fewer left (gRPC's retry throttling).
    budget_tokens: float = 20.0
    budget_refill: float = 0.1

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or self.initial_backoff <= 0 or self.max_backoff <= 0:
            raise ValueError("RetryPolicy: max_attempts is 1 or more, backoffs are above 0")


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
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout: {timeout} is not a number of seconds above 0")
        self._clock = clock
        self._end = clock() + timeout

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
        self.failed = 0

    def succeeded(self) -> None:
        self._budget.succeeded()

    def delay_after(self, error: PrecisError) -> Optional[float]:
        """Seconds until the next attempt, or None: raise the error."""
        self.failed += 1
        error.attempts = self.failed
        if error.code not in RETRYABLE or not error.retry_allowed:
            return None
        if not self._budget.take() or self.failed >= self._policy.max_attempts:
            return None
        delay = self._delay(error)
        return delay if delay < self._deadline.remaining() else None

    def _delay(self, error: PrecisError) -> float:
        most = self._policy.initial_backoff * 2.0 ** (self.failed - 1)
        backoff = min(most, self._policy.max_backoff)
        # The wish of a server that leaves does not hold for others. Twice as many attempts as servers: not
        # all are connected at first, so one may be asked again.
        others = self._num_addresses > 1 and self.failed < 2 * self._num_addresses
        elsewhere = error.reason in LEAVING and others
        if error.retry_after is None or elsewhere:
            return self._draw(backoff / 2, backoff)
        # Not earlier than asked, and not all clients at once.
        return error.retry_after + self._draw(0.0, backoff)
