"""BulkThreads' twin for asyncio: a task takes documents from the caller's iterable, gRPC's own sends
them, and the caller's reads the results. One event loop, so nothing is locked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Optional, Union

import grpc

from .bulk import Bulk, Document, DocumentResult
from .errors import PrecisError, make_error
from .v1 import summarization_pb2 as pb

Documents = Union[Iterable[Union[str, Document]], AsyncIterable[Union[str, Document]]]


class BulkTasks:
    def __init__(self, bulk: Bulk, documents: Documents) -> None:
        self._bulk = bulk
        self._documents = documents
        self._waiting: list[asyncio.Future[None]] = []
        self._stream = 0  # the one that may send; another number ends the requests of an old one
        self._closed = False
        self._source_error: Optional[BaseException] = None
        self._feeder: Optional[asyncio.Task[None]] = None

    def start(self) -> None:
        self._feeder = asyncio.get_running_loop().create_task(self._feed())

    def close(self) -> None:
        self._closed = True
        if self._feeder is not None:
            self._feeder.cancel()
        self._wake()

    def is_done(self) -> bool:
        """Raises what the caller's iterable raised."""
        if self._source_error is not None:
            raise self._source_error
        return self._bulk.is_done()

    def requests(self) -> AsyncIterator[pb.SummarizeManyRequest]:
        """Of a new stream; it ends when all is answered."""
        self._stream += 1
        return self._send(self._stream)

    def answered(self, response: pb.SummarizeManyResponse) -> Optional[DocumentResult]:
        result = self._bulk.answered(response, time.monotonic())
        self._wake()
        return result

    async def end_stream(self, error: Optional[PrecisError]) -> None:
        """What follows a stream: the end, another stream after a while, or the error raised."""
        self._stream += 1
        self._wake()
        if self._source_error is not None or self._bulk.is_done():
            return
        if error is None:  # answers are missing
            error = make_error(grpc.StatusCode.UNAVAILABLE, "the stream ended early")
        delay = self._bulk.stream_failed(error)
        if delay is None:
            raise error
        await asyncio.sleep(delay)

    async def _feed(self) -> None:
        try:
            documents = self._iterator()
            while True:
                while not self._bulk.has_room():
                    await self._change(None)
                self._bulk.add(await documents.__anext__())
                self._wake()
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # the caller's; raised where the caller reads
            self._source_error = error
        self._bulk.end_source()
        self._wake()

    async def _iterator(self) -> AsyncIterator[Union[str, Document]]:
        if isinstance(self._documents, AsyncIterable):
            async for document in self._documents:
                yield document
        else:
            for document in self._documents:
                yield document

    async def _send(self, stream: int) -> AsyncIterator[pb.SummarizeManyRequest]:
        while not self._closed and self._stream == stream and self._source_error is None:
            if self._bulk.is_done():
                return
            now = time.monotonic()
            request = self._bulk.next_request(now)
            if request is not None:
                yield request
                continue
            later = self._bulk.next_time()
            await self._change(None if later is None else later - now)

    async def _change(self, seconds: Optional[float]) -> None:
        """Waits for something to happen, so long at most."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await asyncio.wait([future], timeout=seconds)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
