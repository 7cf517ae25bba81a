"""The client for asyncio. One AsyncClient belongs to one event loop; see Client for what holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Optional, Union

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from . import methods
from .bulk import Bulk, Document, DocumentResult
from .bulk_tasks import BulkTasks
from .connection import Connection, Keepalive, Tls, Token
from .errors import deadline_error, from_rpc_error
from .messages import Delta, Event, Finished, Model, Summary, event_from_proto
from .options import Options
from .retry import Attempts, Deadline, RetryBudget, RetryPolicy
from .v1 import summarization_pb2 as pb


class AsyncSummaryStream:
    """SummaryStream's twin: `async for event in stream`."""

    def __init__(
        self, client: AsyncClient, document: Document, deadline: Deadline, request_id: str
    ) -> None:
        self._client = client
        self._request = document.fill(pb.StreamSummarizeRequest())
        self._deadline = deadline
        self._request_id = request_id
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

    def cancel(self) -> None:
        """Gives the request up; the server frees its pages a step later."""
        if self._call is not None:
            self._call.cancel()

    async def _run(self) -> AsyncGenerator[Event, None]:
        attempts = self._client._attempts(self._deadline)
        said_text = False
        while True:
            try:
                self._call = self._client._stub(
                    methods.STREAM, self._request, self._deadline, self._request_id
                )
                async for message in self._call:
                    event = event_from_proto(message)
                    if isinstance(event, Delta):
                        said_text = True
                        self.text += event.text if event.sequence_index == 0 else ""
                    elif isinstance(event, Finished):
                        self.summary = event.summary
                    if event is not None:
                        yield event
                attempts.succeeded()
                return
            except grpc.RpcError as rpc_error:
                error = from_rpc_error(rpc_error)
            finally:
                self.cancel()  # does nothing to a call that is over
            delay = attempts.delay_after(error)
            if delay is None or said_text:
                raise error
            await asyncio.sleep(delay)


class AsyncClient:
    """Arguments, deadlines, retries and errors are Client's."""

    def __init__(
        self,
        addresses: Union[str, Sequence[str]] = "127.0.0.1:50051",
        *,
        timeout: float = 60.0,
        retry: RetryPolicy = RetryPolicy(),
        tls: Optional[Tls] = None,
        token: Optional[Token] = None,
        keepalive: Optional[Keepalive] = Keepalive(),
        max_message_bytes: int = 64 << 20,
        allow_plaintext_token: bool = False,
    ) -> None:
        self._connection = Connection.make(
            addresses, tls, token, keepalive, max_message_bytes, allow_plaintext_token
        )
        Deadline(timeout)
        self._timeout = timeout
        self._policy = retry
        self._budget = RetryBudget(retry)
        self._channel = self._connection.open(grpc.aio.insecure_channel, grpc.aio.secure_channel)
        self._methods = methods.bind(self._channel)

    async def close(self) -> None:
        """Ends the calls under way, too."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def summarize(
        self,
        text: Optional[str] = None,
        options: Optional[Options] = None,
        *,
        token_ids: Optional[Sequence[int]] = None,
        model: str = "",
        adapter: str = "",
        timeout: Optional[float] = None,
        request_id: str = "",
    ) -> Summary:
        """The summary of one document."""
        document = Document(text, token_ids, options, model, adapter)
        request = document.fill(pb.SummarizeRequest())
        response = await self._unary(methods.SUMMARIZE, request, timeout, request_id)
        return Summary.from_proto(response.summary)

    def stream(
        self,
        text: Optional[str] = None,
        options: Optional[Options] = None,
        *,
        token_ids: Optional[Sequence[int]] = None,
        model: str = "",
        adapter: str = "",
        timeout: Optional[float] = None,
        request_id: str = "",
    ) -> AsyncSummaryStream:
        """One document, its summary as it grows."""
        document = Document(text, token_ids, options, model, adapter)
        return AsyncSummaryStream(self, document, self._deadline(timeout), request_id)

    def summarize_many(
        self,
        documents: Union[Iterable[Union[str, Document]], AsyncIterable[Union[str, Document]]],
        options: Optional[Options] = None,
        *,
        model: str = "",
        adapter: str = "",
        outstanding: int = 32,
        timeout: float = 3600.0,
    ) -> AsyncIterator[DocumentResult]:
        """Documents in bulk, results in the order they are done: Client.summarize_many."""
        deadline = Deadline(timeout)
        defaults = Document(options=options, model=model, adapter=adapter)
        bulk = Bulk(outstanding, lambda: self._attempts(deadline), defaults)
        return self._run_bulk(BulkTasks(bulk, documents), deadline)

    async def list_models(self, *, timeout: Optional[float] = None) -> list[Model]:
        """What is served, the default model first."""
        response = await self._unary(methods.LIST_MODELS, pb.ListModelsRequest(), timeout, "")
        return [Model.from_proto(model) for model in response.models]

    async def is_ready(self, *, timeout: float = 5.0) -> bool:
        """Whether a server answers that it takes requests. One attempt."""
        try:
            request = health_pb2.HealthCheckRequest()
            response = await self._stub(methods.HEALTH, request, Deadline(timeout), "")
        except grpc.RpcError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Returns when a server takes requests; raises DeadlineExceeded when none does in time."""
        deadline = Deadline(timeout)
        pause = 0.05
        while not await self.is_ready(timeout=min(5.0, deadline.for_attempt())):
            if deadline.remaining() <= pause:
                raise deadline_error(f"no server was ready within {timeout} s")
            await asyncio.sleep(pause)
            pause = min(1.0, 2 * pause)

    def _deadline(self, timeout: Optional[float]) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _attempts(self, deadline: Deadline) -> Attempts:
        return Attempts(self._policy, self._budget, deadline, len(self._connection.addresses))

    def _stub(self, method: str, request: Any, deadline: Deadline, request_id: str) -> Any:
        """One attempt."""
        return self._methods[method](
            request,
            timeout=deadline.for_attempt(),
            metadata=self._connection.metadata(request_id),
        )

    async def _unary(
        self, method: str, request: Any, timeout: Optional[float], request_id: str
    ) -> Any:
        deadline = self._deadline(timeout)
        attempts = self._attempts(deadline)
        while True:
            try:
                response = await self._stub(method, request, deadline, request_id)
            except grpc.RpcError as rpc_error:
                error = from_rpc_error(rpc_error)
            else:
                attempts.succeeded()
                return response
            delay = attempts.delay_after(error)
            if delay is None:
                raise error
            await asyncio.sleep(delay)

    async def _run_bulk(self, tasks: BulkTasks, deadline: Deadline) -> AsyncIterator[DocumentResult]:
        tasks.start()
        call: Any = None
        try:
            while not tasks.is_done():
                error = None
                try:
                    call = self._stub(methods.MANY, tasks.requests(), deadline, "")
                    async for response in call:
                        result = tasks.answered(response)
                        if result is not None:
                            yield result
                except grpc.RpcError as rpc_error:
                    error = from_rpc_error(rpc_error)
                await tasks.end_stream(error)
        finally:
            tasks.close()
            if call is not None:
                call.cancel()
