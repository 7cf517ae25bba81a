"""The documents of a bulk call: which to send, which are out, which to send again. No input or output
here; Client and AsyncClient bring the streams and the waiting.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections import deque
from collections.abc import AsyncIterable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Callable, Optional, Union

from . import values
from .errors import PrecisError, from_status
from .messages import Summary
from .options import Options, merged
from .retry import Attempts
from .turns import Window
from .v1 import summarization_pb2 as pb


@dataclasses.dataclass(frozen=True)
class Document:
    """One document, as text or as ids of the model's vocabulary, and how to summarize it."""

    text: Optional[str] = None
    token_ids: Optional[Sequence[int]] = None
    options: Optional[Options] = None
    model: str = ""
    adapter: str = ""
    id: Hashable = None  # the caller's; it is not sent

    def fill(self, message: Any) -> Any:
        """Puts the document into a request of any of the three methods."""
        if self.text is None and self.token_ids is None:
            raise ValueError("text: neither text nor token_ids is given")
        if self.text is not None and self.token_ids is not None:
            raise ValueError("token_ids: text is given, too; a document has one of them")
        if self.text is not None:
            message.text = values.string("text", self.text)
        else:
            message.token_ids.SetInParent()
            message.token_ids.ids.extend(values.ids("token_ids", self.token_ids))
        message.model = values.string("model", self.model)
        message.adapter = values.string("adapter", self.adapter)
        options = merged(self.options, {})
        if options is not None:
            message.options.CopyFrom(options.to_proto())
        return message


@dataclasses.dataclass(frozen=True)
class DocumentResult:
    """The outcome of one document: a summary or an error."""

    document: Document
    index: int  # its place among the documents given
    summary: Optional[Summary] = None
    error: Optional[PrecisError] = None

    def unwrap(self) -> Summary:
        """The summary; raises the error."""
        if self.summary is None:
            raise self.error or AssertionError("neither summary nor error")
        return self.summary


def check_documents(documents: Any) -> None:
    if isinstance(documents, (str, bytes, Mapping, Document)):
        kind = type(documents).__name__
        raise TypeError(f"documents: a list or iterator of documents is wanted, not one {kind}")
    if not isinstance(documents, (Iterable, AsyncIterable)):
        raise TypeError(f"documents: an iterable is wanted, not {type(documents).__name__}")


@dataclasses.dataclass
class _Item:
    document: Document
    index: int
    request: pb.SummarizeManyRequest
    attempts: Attempts


class Bulk:
    """The caller guards it from threads and tells the time."""

    def __init__(
        self,
        outstanding: int,
        attempts: Callable[[], Attempts],
        window: Window,
        defaults: Document,
    ) -> None:
        if values.whole("outstanding", outstanding) < 1:
            raise ValueError("outstanding: 1 or more")
        self._outstanding = outstanding
        self._attempts = attempts
        self._window = window
        self._defaults = defaults
        self._stream_attempts = attempts()
        self._count = 0
        self._sends = 0
        self._source_ended = False
        self._ready: deque[_Item] = deque()
        self._later: list[tuple[float, int, _Item]] = []  # a heap: time, place, item
        self._out: dict[str, _Item] = {}  # by id on the wire

    def has_room(self) -> bool:
        """Whether another document may be taken from the caller."""
        return len(self._ready) + len(self._later) + len(self._out) < self._outstanding

    def add(self, given: Union[str, Document]) -> None:
        try:
            self._add(given)
        except (TypeError, ValueError) as error:
            raise type(error)(f"documents[{self._count}]: {error}") from None

    def _add(self, given: Union[str, Document]) -> None:
        defaults = self._defaults
        if isinstance(given, str):
            given = dataclasses.replace(defaults, text=given)
        elif not isinstance(given, Document):
            raise TypeError(f"a string or a Document is wanted, not {type(given).__name__}")
        filled = dataclasses.replace(
            given,
            options=given.options or defaults.options,
            model=given.model or defaults.model,
            adapter=given.adapter or defaults.adapter,
        )
        request = filled.fill(pb.SummarizeManyRequest())
        self._ready.append(_Item(given, self._count, request, self._attempts()))
        self._count += 1

    def end_source(self) -> None:
        self._source_ended = True

    def is_done(self) -> bool:
        return self._source_ended and not (self._ready or self._later or self._out)

    def next_request(self, now: float) -> Optional[pb.SummarizeManyRequest]:
        while self._later and self._later[0][0] <= now:
            self._ready.appendleft(heapq.heappop(self._later)[2])
        if not self._ready or not self._window.has_room(now):
            return None
        self._window.take(now)
        item = self._ready.popleft()
        # An id of its own for each sending: a stream may see none twice.
        self._sends += 1
        item.request.id = str(self._sends)
        self._out[item.request.id] = item
        return item.request

    def next_time(self) -> Optional[float]:
        """When to ask for the next request though nothing was answered; None: not at all."""
        time = min(
            self._window.next_try() if self._ready else math.inf,
            self._later[0][0] if self._later else math.inf,
        )
        return None if math.isinf(time) else time

    def answered(self, response: pb.SummarizeManyResponse, now: float) -> Optional[DocumentResult]:
        """None: it failed and will be sent again."""
        item = self._out.pop(response.id, None)
        if item is None:
            return None
        self._stream_attempts.failed = 0  # the stream works
        if response.WhichOneof("result") == "summary":
            item.attempts.succeeded()
            self._window.give_back(None, now)
            summary = Summary.from_proto(response.summary)
            return DocumentResult(item.document, item.index, summary=summary)
        error = from_status(response.error)
        self._window.give_back(error, now)
        delay = item.attempts.delay_after(error)
        if delay is None:
            return DocumentResult(item.document, item.index, error=error)
        heapq.heappush(self._later, (now + delay, item.index, item))
        return None

    def stream_failed(self, error: PrecisError) -> Optional[float]:
        """Seconds until another stream may be opened, where all that was not answered is sent again;
        None: raise the error."""
        delay = self._stream_attempts.delay_after(error)
        if delay is not None:
            self._ready.extendleft(reversed(list(self._out.values())))
            self._out.clear()
            self._window.reset()
        return delay
