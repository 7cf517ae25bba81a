"""The client for code without asyncio. Any thread may use one Client."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Union

import grpc
from grpc_health.v1 import health_pb2

from . import methods, values
from .bulk import Bulk, Document, DocumentResult, check_documents
from .bulk_threads import BulkThreads
from .connection import CallMetadata, Connection, Keepalive, Tls, Token
from .errors import PrecisError, deadline_error, from_rpc_error
from .messages import Model, Summary
from .metadata import Metadata, MetadataSource
from .options import OptionKeywords, Options, merged
from .retry import Attempts, Deadline, RetryBudget, RetryPolicy
from .stream import SummaryStream
from .turns import Window
from .turns_threads import Turns
from .v1 import summarization_pb2 as pb

if TYPE_CHECKING:
    from typing_extensions import Unpack
elif sys.version_info >= (3, 11):  # for those who read annotations while the program runs
    from typing import Unpack


class Client:
    """Summaries from one server, or from several that are asked in turns.

    Every call has a deadline. What a full or a leaving server refuses is tried again until then, as
    `retry` says. Errors of calls are PrecisError; a mistake in an argument is a TypeError or ValueError
    that begins with the argument's name.

    addresses: "host:port", "unix:PATH", or a list of IP addresses with ports. A proxy in the environment
        (http_proxy) is used for one address on another machine, never for this one.
    timeout: Seconds that a call may take with all its attempts, where the call does not say it.
    retry: What is tried again, and how often.
    tls: Tls(...) for a server with TLS; None: plain text.
    token: Bearer token, or a function that returns it, asked for each attempt.
    metadata: gRPC metadata of every call, as {"traceparent": "00-..."}, or a function that returns it,
        asked for each attempt.
    keepalive: Pings that notice a machine that is gone; None: none.
    max_message_bytes: Longest message sent or received.
    allow_plaintext_token: Send a token to another machine without TLS.
    """

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
        self._channel = self._connection.open(grpc.insecure_channel, grpc.secure_channel)
        self._methods = methods.bind(self._channel)

    def close(self) -> None:
        """Ends the calls under way, too."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def summarize(
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
        """The summary of one document.

        text: The document.
        options: How to summarize it: Options(...), or its fields as keywords, as `num_beams=4`; a
            keyword goes before the same field of `options`. None: the checkpoint's defaults.
        token_ids: The document as ids of the model's vocabulary, instead of `text`.
        model: Name of the model, where the server has several.
        adapter: Name of an adapter of the model.
        timeout: Seconds for all attempts together; None: the client's.
        request_id: Your name for the request in the server's log. Empty: the server makes one.
        metadata: gRPC metadata of this call, besides the client's.
        """
        document = Document(text, token_ids, merged(options, keywords), model, adapter)
        request = document.fill(pb.SummarizeRequest())
        made = self._metadata(request_id, metadata)
        response = self._unary(methods.SUMMARIZE, request, timeout, made, self._turns)
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
    ) -> SummaryStream:
        """One document, its summary as it grows; arguments as of summarize(). The call begins with the
        first event asked for, its deadline now."""
        document = Document(text, token_ids, merged(options, keywords), model, adapter)
        request = document.fill(pb.StreamSummarizeRequest())
        made = self._metadata(request_id, metadata)
        deadline = self._deadline(timeout)
        attempts = self._attempts(deadline)
        return SummaryStream(
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
    ) -> Iterator[str]:
        """One document, the text of its summary a piece at a time; arguments as of summarize()."""
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
        documents: Iterable[Union[str, Document]],
        options: Optional[Options] = None,
        *,
        model: str = "",
        adapter: str = "",
        outstanding: int = 32,
        timeout: float = 3600.0,
        metadata: Optional[Metadata] = None,
        **keywords: Unpack[OptionKeywords],
    ) -> Iterator[DocumentResult]:
        """Documents in bulk, results in the order they are done. A document that fails fails in its
        result; when the server ends, what it did not answer is sent again.

        documents: Strings or Documents. They are taken in another thread, as room is made for them.
        options, model, adapter: For documents that say none; options also as keywords.
        outstanding: Most documents that are taken and not yet answered.
        timeout: Seconds for all of it.
        metadata: gRPC metadata of the call, besides the client's.
        """
        check_documents(documents)
        deadline = Deadline(timeout)
        defaults = Document(options=merged(options, keywords), model=model, adapter=adapter)
        made = self._metadata("", metadata)
        window = Window(self._policy)
        bulk = Bulk(outstanding, lambda: self._attempts(deadline), window, defaults)
        return self._run_bulk(BulkThreads(bulk, documents), deadline, made)

    def list_models(self, *, timeout: Optional[float] = None) -> list[Model]:
        """What is served, the default model first."""
        request, made = pb.ListModelsRequest(), self._metadata("", None)
        alone = Turns(self._policy)  # a full server answers this, too
        response = self._unary(methods.LIST_MODELS, request, timeout, made, alone)
        return [Model.from_proto(model) for model in response.models]

    def is_ready(self, *, timeout: float = 5.0) -> bool:
        """Whether a server answers that it takes requests. One attempt."""
        try:
            request, made = health_pb2.HealthCheckRequest(), self._metadata("", None)
            response = self._stub(methods.HEALTH, request, Deadline(timeout), made)
        except grpc.RpcError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Returns when a server takes requests; raises DeadlineExceeded when none does in time."""
        deadline = Deadline(timeout)
        pause = 0.05
        while not self.is_ready(timeout=min(5.0, deadline.for_attempt())):
            if deadline.remaining() <= pause:
                raise deadline_error(f"no server was ready within {timeout} s")
            time.sleep(pause)
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

    def _unary(
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
            turn.enter()
            try:
                response = self._stub(method, request, deadline, metadata)
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
            time.sleep(delay)

    def _run_bulk(
        self, threads: BulkThreads, deadline: Deadline, metadata: CallMetadata
    ) -> Iterator[DocumentResult]:
        threads.start()
        call: Any = None
        try:
            while not threads.is_done():
                try:
                    call = self._stub(methods.MANY, threads.requests(), deadline, metadata)
                    for response in call:
                        result = threads.answered(response)
                        if result is not None:
                            yield result
                    error: Optional[PrecisError] = None
                except grpc.RpcError as rpc_error:
                    error = from_rpc_error(rpc_error)
                threads.end_stream(error)  # raises what cannot be helped; else waits
        finally:
            threads.close()
            if call is not None:
                call.cancel()
