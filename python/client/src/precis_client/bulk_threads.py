"""A bulk call and its three threads: one takes documents from the caller's iterable, gRPC's own sends
them, and the caller's reads the results.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Optional, Union

import grpc

from .bulk import Bulk, Document, DocumentResult
from .errors import PrecisError, make_error
from .v1 import summarization_pb2 as pb


class BulkThreads:
    def __init__(self, bulk: Bulk, documents: Iterable[Union[str, Document]]) -> None:
        self._bulk = bulk
        self._documents = documents
        self._changed = threading.Condition()
        self._stream = 0  # the one that may send; another number ends the requests of an old one
        self._closed = False
        self._source_error: Optional[BaseException] = None

    def start(self) -> None:
        # A daemon: it may stand in the caller's iterable for ever.
        threading.Thread(target=self._feed, name="precis_client bulk", daemon=True).start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def is_done(self) -> bool:
        """Raises what the caller's iterable raised."""
        with self._changed:
            if self._source_error is not None:
                raise self._source_error
            return self._bulk.is_done()

    def requests(self) -> Iterator[pb.SummarizeManyRequest]:
        """Of a new stream; it ends when all is answered."""
        with self._changed:
            self._stream += 1
            return self._send(self._stream)

    def answered(self, response: pb.SummarizeManyResponse) -> Optional[DocumentResult]:
        with self._changed:
            result = self._bulk.answered(response, time.monotonic())
            self._changed.notify_all()
            return result

    def end_stream(self, error: Optional[PrecisError]) -> None:
        """What follows a stream: the end, another stream after a while, or the error raised."""
        with self._changed:
            self._stream += 1
            self._changed.notify_all()
            if self._source_error is not None or self._bulk.is_done():
                return
            if error is None:  # answers are missing
                error = make_error(grpc.StatusCode.UNAVAILABLE, "the stream ended early")
            delay = self._bulk.stream_failed(error)
        if delay is None:
            raise error
        time.sleep(delay)

    def _feed(self) -> None:
        try:
            documents = iter(self._documents)
            while self._wait_for_room():
                document = next(documents)
                with self._changed:
                    self._bulk.add(document)
                    self._changed.notify_all()
        except StopIteration:
            pass
        except BaseException as error:  # the caller's; raised where the caller reads
            self._source_error = error
        with self._changed:
            self._bulk.end_source()
            self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        with self._changed:
            while not self._closed and not self._bulk.has_room():
                self._changed.wait()
            return not self._closed

    def _send(self, stream: int) -> Iterator[pb.SummarizeManyRequest]:
        while True:
            with self._changed:
                request = self._next_of(stream)
            if request is None:
                return
            yield request

    def _next_of(self, stream: int) -> Optional[pb.SummarizeManyRequest]:
        """None: this stream has sent its last."""
        while True:
            ended = self._closed or self._stream != stream or self._source_error is not None
            if ended or self._bulk.is_done():
                return None
            now = time.monotonic()
            request = self._bulk.next_request(now)
            if request is not None:
                return request
            later = self._bulk.next_time()
            self._changed.wait(None if later is None else later - now)
