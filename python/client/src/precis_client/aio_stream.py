"""One summary as it grows, for asyncio; stream.py is its twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Callable, Optional

import grpc

from .errors import from_rpc_error
from .messages import Delta, Event, Finished, Summary, event_from_proto
from .retry import Attempts
from .turns_tasks import Turn


class AsyncSummaryStream:
    """SummaryStream's twin: `async for event in stream`, or `async for piece in stream.pieces()`."""

    def __init__(self, call: Callable[[], Any], attempts: Attempts, turn: Turn) -> None:
        self._make_call = call
        self._attempts = attempts
        self._turn = turn
        self._call: Any = None
        self.text = ""
        self.summary: Optional[Summary] = None
        self._events = self._run()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def __aenter__(self) -> AsyncSummaryStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()
        await self._events.aclose()

    async def pieces(self) -> AsyncGenerator[str, None]:
        """The text of the first sequence, a piece at a time, as SummaryStream.pieces()."""
        try:
            async for event in self:
                if isinstance(event, Delta) and event.sequence_index == 0:
                    yield event.text
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Gives the request up; the server frees its pages a step later."""
        if self._call is not None:
            self._call.cancel()
        self._turn.leave()

    async def _run(self) -> AsyncGenerator[Event, None]:
        said_text = False
        while True:
            await self._turn.enter()
            try:
                self._call = self._make_call()
                async for message in self._call:
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
            await asyncio.sleep(delay)
