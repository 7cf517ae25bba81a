"""A gRPC status with its google.rpc details as one exception."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

import grpc
from google.rpc import error_details_pb2, status_pb2


@dataclasses.dataclass(frozen=True)
class FieldViolation:
    """A field of the request, as "options.top_p", and what is wrong with it."""

    field: str
    description: str


class PrecisError(Exception):
    """A call that failed, after all the attempts that the retry policy allows."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        field_violations: tuple[FieldViolation, ...] = (),
        retry_after: Optional[float] = None,
        retry_allowed: bool = True,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason  # as in the server's table of errors: QUEUE_FULL, DRAINING, ...
        self.field_violations = field_violations
        self.retry_after = retry_after  # seconds, where the server says that trying again can help
        self.retry_allowed = retry_allowed  # False: the server asked not to try again
        self.request_id = request_id
        self.attempts = 1

    def __str__(self) -> str:
        reason = f", {self.reason}" if self.reason and self.reason != self.code.name else ""
        return f"{self.message} ({self.code.name}{reason})"


class InvalidRequest(PrecisError):
    """INVALID_ARGUMENT, or UNIMPLEMENTED: the request cannot succeed as it is."""


class NotFound(PrecisError):
    """No such model or adapter."""


class Overloaded(PrecisError):
    """RESOURCE_EXHAUSTED: no place, no pages, or a quota is used up."""


class Unavailable(PrecisError):
    """No server, or one that is about to end."""


class DeadlineExceeded(PrecisError):
    """The time of the call, all its attempts together, is over."""


class Cancelled(PrecisError):
    """The call was cancelled."""


class Unauthenticated(PrecisError):
    """The token or certificate is missing, wrong, or not allowed to do this."""


# What gRPC says instead of UNAVAILABLE: of a stream that was written to while its connection went
# (grpc.aio 1.85), and of a call that reached a server between the end of its drain and the end of its
# connection. No service sends these words, and who cancels a call himself is told so in others.
LOST_CONNECTION = (
    (grpc.StatusCode.INTERNAL, "Internal error from Core"),
    (grpc.StatusCode.CANCELLED, "CANCELLED"),
)

_KINDS: dict[grpc.StatusCode, type[PrecisError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNIMPLEMENTED: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Unauthenticated,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def make_error(code: grpc.StatusCode, message: str, **rest: Any) -> PrecisError:
    return _KINDS.get(code, PrecisError)(code, message, **rest)


# What a call that its caller gave up means for the calls after it: nothing.
ABANDONED = make_error(grpc.StatusCode.CANCELLED, "the caller gave it up")


def deadline_error(message: str = "the deadline has passed") -> PrecisError:
    return make_error(grpc.StatusCode.DEADLINE_EXCEEDED, message)


def from_status(status: Any, **rest: Any) -> PrecisError:
    """Of a google.rpc.Status, as items of a bulk stream have one."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            delay = retry.retry_delay
            rest.setdefault("retry_after", delay.seconds + delay.nanos / 1e9)
        for known in (info, bad):
            detail.Unpack(known)
    return make_error(
        _CODES.get(status.code, grpc.StatusCode.UNKNOWN),
        status.message,
        reason=info.reason,
        field_violations=tuple(
            FieldViolation(one.field, one.description) for one in bad.field_violations
        ),
        **rest,
    )


def from_rpc_error(error: Any) -> PrecisError:
    """Of what grpc or grpc.aio raised."""
    headers = _metadata(error.initial_metadata)
    trailers = _metadata(error.trailing_metadata)
    rest: dict[str, Any] = {
        "request_id": str(headers.get("x-request-id", trailers.get("x-request-id", "")))
    }
    pushback = trailers.get("grpc-retry-pushback-ms")
    if pushback is not None:
        # As gRPC says: what is no number of 0 or more means not to try again.
        milliseconds = int(pushback) if str(pushback).isdigit() else -1
        rest["retry_allowed"] = milliseconds >= 0
        if milliseconds >= 0:
            rest["retry_after"] = milliseconds / 1000
    code = error.code() or grpc.StatusCode.UNKNOWN
    packed = trailers.get("grpc-status-details-bin")
    if isinstance(packed, bytes):
        try:
            status = status_pb2.Status.FromString(packed)
        except Exception:  # not a Status: a proxy's, perhaps
            status = None
        if status is not None and _CODES.get(status.code) == code:
            return from_status(status, **rest)
    details = error.details() or ""
    if (code, details) in LOST_CONNECTION:
        code = grpc.StatusCode.UNAVAILABLE
    return make_error(code, details, **rest)


def _metadata(getter: Any) -> dict[str, Any]:
    return {key: value for key, value in (getter() or ())}
