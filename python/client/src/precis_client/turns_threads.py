"""Turns of calls in threads; turns_tasks.py is its twin."""

from __future__ import annotations

import threading
import time
from typing import Optional

from .errors import ABANDONED, PrecisError
from .retry import Attempts, Deadline, RetryPolicy
from .turns import Line, Window, too_late


class Turns:
    """One for a client; any thread."""

    def __init__(self, policy: RetryPolicy) -> None:
        # Reentrant: the collector may end a forgotten stream, whose turn then ends, while this thread has it.
        self._lock = threading.RLock()
        self._line = Line(Window(policy))

    def turn(self, attempts: Attempts, deadline: Deadline) -> Turn:
        with self._lock:
            return Turn(self._lock, self._line, attempts, deadline)


class Turn:
    """The place of one call, for all its attempts."""

    def __init__(
        self, lock: threading.RLock, line: Line, attempts: Attempts, deadline: Deadline
    ) -> None:
        self._lock = lock
        self._line = line
        self._attempts = attempts
        self._deadline = deadline
        self._number = line.number()
        self._out = False

    def enter(self) -> None:
        """Before an attempt: waits until it may be made, up to the deadline."""
        woken = threading.Event()
        with self._lock:
            self._out = self._line.enter(self._number, woken.set, time.monotonic())
        try:
            while not self._out:
                self._wait(woken)
        finally:
            if not self._out:
                with self._lock:
                    self._line.leave(self._number)

    def leave(self, error: Optional[PrecisError] = ABANDONED) -> None:
        """After an attempt, with its error; None: it succeeded. Does nothing the second time."""
        with self._lock:
            if self._out:
                self._out = False
                self._line.give_back(error, time.monotonic())

    def _wait(self, woken: threading.Event) -> None:
        left = self._deadline.remaining()
        if left <= 0:
            raise too_late(self._line.window.refusal, self._attempts.made)
        with self._lock:
            next_try = self._line.next_try(self._number) - time.monotonic()
        woken.wait(min(left, max(next_try, 0.0)))
        woken.clear()
        with self._lock:
            self._out = self._line.try_to_go(self._number, time.monotonic())
