"""The client for asyncio. One AsyncClient belongs to one event loop; see Client for what holds for both."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Union

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from . import methods, values
from .bulk import Bulk, Document, DocumentResult, check_documents
from .bulk_tasks import BulkTasks
from .connection import CallMetadata, Connection, Keepalive, Tls, Token
from .errors import PrecisError, deadline_error, from_rpc_error
from .messages import Model, Summary
from .metadata import Metadata, MetadataSource
from .options import OptionKeywords, Options, merged
from .retry import Attempts, Deadline, RetryBudget, RetryPolicy
from .aio_stream import AsyncSummaryStream
from .turns import Window
from .turns_tasks import Turns
from .v1 import summarization_pb2 as pb

if TYPE_CHECKING:
    from typing_extensions import Unpack
elif sys.version_info >= (3, 11):  # for those who read annotations while the program runs
    from typing import Unpack


class AsyncClient:
    """Client for asyncio: the same arguments, deadlines, retries and errors."""

    def __init__(
        self,
        addresses: Union[str, Sequence[str]] = "127.0.0.1:50051",
        *,
        timeout: float = 60.0,
        retry: RetryPolicy = RetryPolicy(),
        tls: Optional[Tls] = None,
        token: Optional[Token] = None,
        metadata: Optional[MetadataSource] = None,
        keepalive: Optional[Keepalive] = Keepalive(),
        max_message_bytes: int = 64 << 20,
        allow_plaintext_token: bool = False,
    ) -> None:
        self._connection = Connection.make(
            addresses, tls, token, metadata, keepalive, max_message_bytes, allow_plaintext_token
        )
        self._timeout = values.seconds("timeout", timeout)
        values.instance("retry", RetryPolicy, retry)
        self._policy = retry
        self._budget = RetryBudget(retry)
        self._turns = Turns(retry)
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
        metadata: Optional[Metadata] = None,
        **keywords: Unpack[OptionKeywords],
    ) -> Summary:
        """The summary of one document; arguments as of Client.summarize()."""
        document = Document(text, token_ids, merged(options, keywords), model, adapter)
        request = document.fill(pb.SummarizeRequest())
        made = self._metadata(request_id, metadata)
        response = await self._unary(methods.SUMMARIZE, request, timeout, made, self._turns)
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
        metadata: Optional[Metadata] = None,
        **keywords: Unpack[OptionKeywords],
    ) -> AsyncSummaryStream:
        """One document, its summary as it grows; arguments as of Client.summarize(). The call begins with the
        first event asked for, its deadline now."""
        document = Document(text, token_ids, merged(options, keywords), model, adapter)
        request = document.fill(pb.StreamSummarizeRequest())
        made = self._metadata(request_id, metadata)
        deadline = self._deadline(timeout)
        attempts = self._attempts(deadline)
        return AsyncSummaryStream(
            lambda: self._stub(methods.STREAM, request, deadline, made),
            attempts,
            self._turns.turn(attempts, deadline),
        )

    def stream_text(
        self,
        text: Optional[str] = None,
        options: Optional[Options] = None,
        *,
        token_ids: Optional[Sequence[int]] = None,
        model: str = "",
        adapter: str = "",
        timeout: Optional[float] = None,
        request_id: str = "",
        metadata: Optional[Metadata] = None,
        **keywords: Unpack[OptionKeywords],
    ) -> AsyncIterator[str]:
        """One document, the text of its summary a piece at a time; arguments as of Client.summarize()."""
        return self.stream(
            text,
            options,
            token_ids=token_ids,
            model=model,
            adapter=adapter,
            timeout=timeout,
            request_id=request_id,
            metadata=metadata,
            **keywords,
        ).pieces()

    def summarize_many(
        self,
        documents: Union[Iterable[Union[str, Document]], AsyncIterable[Union[str, Document]]],
        options: Optional[Options] = None,
        *,
        model: str = "",
        adapter: str = "",
        outstanding: int = 32,
        timeout: float = 3600.0,
        metadata: Optional[Metadata] = None,
        **keywords: Unpack[OptionKeywords],
    ) -> AsyncIterator[DocumentResult]:
        """Documents in bulk, results in the order they are done: Client.summarize_many."""
        check_documents(documents)
        deadline = Deadline(timeout)
        defaults = Document(options=merged(options, keywords), model=model, adapter=adapter)
        made = self._metadata("", metadata)
        window = Window(self._policy)
        bulk = Bulk(outstanding, lambda: self._attempts(deadline), window, defaults)
        return self._run_bulk(BulkTasks(bulk, documents), deadline, made)

    async def list_models(self, *, timeout: Optional[float] = None) -> list[Model]:
        """What is served, the default model first."""
        request, made = pb.ListModelsRequest(), self._metadata("", None)
        alone = Turns(self._policy)  # a full server answers this, too
        response = await self._unary(methods.LIST_MODELS, request, timeout, made, alone)
        return [Model.from_proto(model) for model in response.models]

    async def is_ready(self, *, timeout: float = 5.0) -> bool:
        """Whether a server answers that it takes requests. One attempt."""
        try:
            request, made = health_pb2.HealthCheckRequest(), self._metadata("", None)
            response = await self._stub(methods.HEALTH, request, Deadline(timeout), made)
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

    def _metadata(self, request_id: str, metadata: Optional[Metadata]) -> CallMetadata:
        return self._connection.of_call(request_id, metadata)

    def _stub(self, method: str, request: Any, deadline: Deadline, metadata: CallMetadata) -> Any:
        """One attempt."""
        return self._methods[method](
            request, timeout=deadline.for_attempt(), metadata=metadata.of_attempt()
        )

    async def _unary(
        self,
        method: str,
        request: Any,
        timeout: Optional[float],
        metadata: CallMetadata,
        turns: Turns,
    ) -> Any:
        deadline = self._deadline(timeout)
        attempts = self._attempts(deadline)
        turn = turns.turn(attempts, deadline)
        while True:
            await turn.enter()
            try:
                response = await self._stub(method, request, deadline, metadata)
                turn.leave(None)
                attempts.succeeded()
                return response
            except grpc.RpcError as rpc_error:
                error = from_rpc_error(rpc_error)
                turn.leave(error)
            finally:
                turn.leave()
            delay = attempts.delay_after(error)
            if delay is None:
                raise error
            await asyncio.sleep(delay)

    async def _run_bulk(
        self, tasks: BulkTasks, deadline: Deadline, metadata: CallMetadata
    ) -> AsyncIterator[DocumentResult]:
        tasks.start()
        call: Any = None
        try:
            while not tasks.is_done():
                try:
                    call = self._stub(methods.MANY, tasks.requests(), deadline, metadata)
                    async for response in call:
                        result = tasks.answered(response)
                        if result is not None:
                            yield result
                    error: Optional[PrecisError] = None
                except grpc.RpcError as rpc_error:
                    error = from_rpc_error(rpc_error)
                await tasks.end_stream(error)  # raises what cannot be helped; else waits
        finally:
            tasks.close()
            if call is not None:
                call.cancel()
