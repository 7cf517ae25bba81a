"""A server of precis.v1 whose answers a test writes down, for the tests beside this file."""

import concurrent.futures
import contextlib
import threading
import time

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from precis_client.connection import SERVICE
from precis_client.v1 import summarization_pb2 as pb


def summary(text):
    return pb.Summary(sequences=[pb.SummarySequence(text=text)], model="fake")


def status(code, reason, retry=None, violation=None):
    """A google.rpc.Status as the server makes them."""
    made = status_pb2.Status(code=code.value[0], message=f"said {reason}")
    if violation:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=violation[0], description=violation[1])
        made.details.add().Pack(bad)
    made.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="precis"))
    if retry is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(retry * 1000))
        made.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return made


def refuse(context, code, reason, retry=None, pushback=None, violation=None):
    packed = status(code, reason, retry, violation)
    trailers = [("grpc-status-details-bin", packed.SerializeToString())]
    if pushback is not None:
        trailers.append(("grpc-retry-pushback-ms", pushback))
    context.set_trailing_metadata(trailers)
    context.abort(code, packed.message)


class Call:
    """What the server saw of one call."""

    def __init__(self, request, context):
        self.request = request
        self.context = context
        self.time_remaining = context.time_remaining()
        self.metadata = dict(context.invocation_metadata())


class FakeServer:
    """Each call takes the next of `answers`, the last one for ever: a function of the Call that returns
    what that method returns (for streams an iterator), or refuses."""

    def __init__(self, *answers, credentials=None):
        self.answers = list(answers)
        self.calls = []
        self._lock = threading.Lock()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        self._server.add_generic_rpc_handlers([self._handlers()])
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self):
        self._server.stop(0).wait()

    def _handlers(self):
        def whole(request, context):
            return self._take(request, context)

        def stream(request, context):
            yield from self._take(request, context)

        return grpc.method_handlers_generic_handler(SERVICE, {
            "Summarize": grpc.unary_unary_rpc_method_handler(
                whole, pb.SummarizeRequest.FromString, pb.SummarizeResponse.SerializeToString),
            "ListModels": grpc.unary_unary_rpc_method_handler(
                whole, pb.ListModelsRequest.FromString, pb.ListModelsResponse.SerializeToString),
            "StreamSummarize": grpc.unary_stream_rpc_method_handler(
                stream, pb.StreamSummarizeRequest.FromString,
                pb.StreamSummarizeResponse.SerializeToString),
            "SummarizeMany": grpc.stream_stream_rpc_method_handler(
                stream, pb.SummarizeManyRequest.FromString,
                pb.SummarizeManyResponse.SerializeToString),
        })

    def _take(self, request, context):
        call = Call(request, context)
        with self._lock:
            self.calls.append(call)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(call)


@contextlib.contextmanager
def serving(*answers, credentials=None):
    server = FakeServer(*answers, credentials=credentials)
    try:
        yield server
    finally:
        server.stop()


def says(text):
    return lambda call: pb.SummarizeResponse(summary=summary(text))


def refuses(code, reason, **rest):
    return lambda call: refuse(call.context, code, reason, **rest)


class FullServer:
    """An answer of a server with few places: each call holds one for a while, more calls are refused."""

    def __init__(self, places, seconds, retry):
        self.refused = 0
        self._places, self._seconds, self._retry = places, seconds, retry
        self._lock = threading.Lock()

    def __call__(self, call):
        with self._lock:
            has_place = self._places > 0
            self._places -= has_place
            self.refused += not has_place
        if not has_place:
            refuse(call.context, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", retry=self._retry)
        try:
            time.sleep(self._seconds)  # the work
            return pb.SummarizeResponse(summary=summary(call.request.text))
        finally:
            with self._lock:
                self._places += 1


def event(**kind):
    return pb.StreamSummarizeResponse(**kind)
