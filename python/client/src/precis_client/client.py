"""The client for code without asyncio. Any thread may use one Client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Optional, Union

import grpc
from grpc_health.v1 import health_pb2

from . import methods
from .bulk import Bulk, Document, DocumentResult
from .bulk_threads import BulkThreads
from .connection import Connection, Keepalive, Tls, Token
from .errors import PrecisError, deadline_error, from_rpc_error
from .messages import Delta, Event, Finished, Model, Summary, event_from_proto
from .options import Options
from .retry import Attempts, Deadline, RetryBudget, RetryPolicy
from .v1 import summarization_pb2 as pb


class SummaryStream:
    """The events of one summary; iterate over it. `Accepted` and `Progress` may come again when an
    attempt failed before the first `Delta`; after that nothing is tried again, and an error means
    that `text` is incomplete.
    """

    def __init__(self, client: Client, document: Document, deadline: Deadline, request_id: str) -> None:
        self._client = client
        self._request = document.fill(pb.StreamSummarizeRequest())
        self._deadline = deadline
        self._request_id = request_id
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

    def cancel(self) -> None:
        """Gives the request up; the server frees its pages a step later."""
        if self._call is not None:
            self._call.cancel()

    def _run(self) -> Iterator[Event]:
        attempts = self._client._attempts(self._deadline)
        said_text = False
        while True:
            try:
                self._call = self._client._stub(
                    methods.STREAM, self._request, self._deadline, self._request_id
                )
                for message in self._call:
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
            time.sleep(delay)


class Client:
    """`addresses`: "host:port", "unix:PATH", or several IP addresses, which are asked in turns.

    Every call has a deadline: `timeout` seconds of the call, else of the client. It holds for all
    attempts together. Errors are PrecisError.
    """

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
        Deadline(timeout)  # checked here, not at the first call
        self._timeout = timeout
        self._policy = retry
        self._budget = RetryBudget(retry)
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
    ) -> Summary:
        """The summary of one document."""
        document = Document(text, token_ids, options, model, adapter)
        request = document.fill(pb.SummarizeRequest())
        response = self._unary(methods.SUMMARIZE, request, timeout, request_id)
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
    ) -> SummaryStream:
        """One document, its summary as it grows. The call begins with the first event asked for, its
        deadline now."""
        document = Document(text, token_ids, options, model, adapter)
        return SummaryStream(self, document, self._deadline(timeout), request_id)

    def summarize_many(
        self,
        documents: Iterable[Union[str, Document]],
        options: Optional[Options] = None,
        *,
        model: str = "",
        adapter: str = "",
        outstanding: int = 32,
        timeout: float = 3600.0,
    ) -> Iterator[DocumentResult]:
        """Documents in bulk, results in the order they are done. At most `outstanding` documents are
        taken (in another thread) and not yet answered. A document that fails fails in its result;
        when the server ends, what it did not answer is sent again. `timeout` holds for all of it.
        """
        deadline = Deadline(timeout)
        defaults = Document(options=options, model=model, adapter=adapter)
        bulk = Bulk(outstanding, lambda: self._attempts(deadline), defaults)
        return self._run_bulk(BulkThreads(bulk, documents), deadline)

    def list_models(self, *, timeout: Optional[float] = None) -> list[Model]:
        """What is served, the default model first."""
        response = self._unary(methods.LIST_MODELS, pb.ListModelsRequest(), timeout, "")
        return [Model.from_proto(model) for model in response.models]

    def is_ready(self, *, timeout: float = 5.0) -> bool:
        """Whether a server answers that it takes requests. One attempt."""
        try:
            request = health_pb2.HealthCheckRequest()
            response = self._stub(methods.HEALTH, request, Deadline(timeout), "")
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

    def _stub(self, method: str, request: Any, deadline: Deadline, request_id: str) -> Any:
        """One attempt."""
        return self._methods[method](
            request,
            timeout=deadline.for_attempt(),
            metadata=self._connection.metadata(request_id),
        )

    def _unary(self, method: str, request: Any, timeout: Optional[float], request_id: str) -> Any:
        deadline = self._deadline(timeout)
        attempts = self._attempts(deadline)
        while True:
            try:
                response = self._stub(method, request, deadline, request_id)
            except grpc.RpcError as rpc_error:
                error = from_rpc_error(rpc_error)
            else:
                attempts.succeeded()
                return response
            delay = attempts.delay_after(error)
            if delay is None:
                raise error
            time.sleep(delay)

    def _run_bulk(self, threads: BulkThreads, deadline: Deadline) -> Iterator[DocumentResult]:
        threads.start()
        call: Any = None
        try:
            while not threads.is_done():
                try:
                    call = self._stub(methods.MANY, threads.requests(), deadline, "")
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
