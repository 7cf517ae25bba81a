"""One summary as it grows, for code without asyncio; aio_stream.py is its twin."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Callable, Optional

import grpc

from .errors import from_rpc_error
from .messages import Delta, Event, Finished, Summary, event_from_proto
from .retry import Attempts
from .turns_threads import Turn


class SummaryStream:
    """The events of one summary; iterate over it, or over `pieces()` for the text alone.

    `Accepted` and `Progress` may come again when an attempt failed before the first `Delta`; after that
    nothing is tried again, and an error means that `text` is incomplete.
    """

    def __init__(self, call: Callable[[], Any], attempts: Attempts, turn: Turn) -> None:
        self._make_call = call
        self._attempts = attempts
        self._turn = turn
        self._call: Any = None
        self.text = ""  # of the first sequence, so far
        self.summary: Optional[Summary] = None  # once finished
        self._events = self._run()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> SummaryStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def pieces(self) -> Iterator[str]:
        """The text of the first sequence, a piece at a time. Joined they are `text`, and once they have
        ended `summary` is there. The call is cancelled when the iterator is closed early."""
        try:
            for event in self:
                if isinstance(event, Delta) and event.sequence_index == 0:
                    yield event.text
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Gives the request up; the server frees its pages a step later."""
        if self._call is not None:
            self._call.cancel()
        self._turn.leave()

    def _run(self) -> Iterator[Event]:
        said_text = False
        while True:
            self._turn.enter()
            try:
                self._call = self._make_call()
                for message in self._call:
                    event = event_from_proto(message)
                    if isinstance(event, Delta):
                        said_text = True
                        self.text += event.text if event.sequence_index == 0 else ""
                    elif isinstance(event, Finished):
                        self.summary = event.summary
                    if event is not None:
                        yield event
                self._turn.leave(None)
                self._attempts.succeeded()
                return
            except grpc.RpcError as rpc_error:
                error = from_rpc_error(rpc_error)
                self._turn.leave(error)
            finally:
                self.cancel()  # does nothing to a call that is over
            delay = self._attempts.delay_after(error)
            if delay is None or said_text:
                raise error
            time.sleep(delay)
