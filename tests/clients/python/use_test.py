"""What makes the client handy: keywords, text as it grows, metadata, and no proxy for this machine. Every test
that names no twin runs for both.
"""

import asyncio
import os
import socket
import threading
import unittest
from unittest import mock

import grpc

import precis_client as precis
from fake_server import event, refuses, says, serving
from precis_client.v1 import summarization_pb2 as pb
from twins import Async, Sync

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def pieces(*texts, other="beam"):
    """A stream of two sequences."""
    def answer(call):
        yield event(accepted=pb.Accepted(request_id="1"))
        for text in texts:
            yield event(delta=pb.Delta(text=text))
            yield event(delta=pb.Delta(sequence_index=1, text=other))
        yield event(finished=pb.Finished(summary=pb.Summary(sequences=[pb.SummarySequence(text="".join(texts))])))
    return answer


class Proxy:
    """Counts who asks it, and refuses."""

    def __enter__(self):
        self.asked = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4096).split(b"\r\n")[0].decode(errors="replace"))
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


class Cases:
    """What holds for both twins; `twin` is one of the two of twins.py."""

    def test_options_go_as_keywords_and_before_those_of_options(self):
        with serving(says("short")) as server:
            self.twin.summarize(server.address, "text", num_beams=4, early_stopping="never", stop=["x"])
            self.twin.summarize(server.address, "text", precis.Options(num_beams=4, top_k=5), num_beams=2)
            first, second = [call.request.options for call in server.calls]
        self.assertEqual(first, pb.GenerationOptions(
            num_beams=4, early_stopping=pb.EARLY_STOPPING_NEVER, stop=["x"]))
        self.assertEqual(second, pb.GenerationOptions(num_beams=2, top_k=5))

    def test_documents_in_bulk_have_keywords_for_those_that_say_nothing(self):
        def answer(call):
            for request in call.request:
                seen[request.text] = request.options
                yield pb.SummarizeManyResponse(id=request.id, summary=pb.Summary())
        seen = {}
        with serving(answer) as server:
            own = precis.Document("own", options=precis.Options(seed=1))
            self.twin.many(server.address, ["plain", own], top_k=3, metadata={"x-tenant": "a"})
            self.assertEqual(server.calls[0].metadata["x-tenant"], "a")
        self.assertEqual(seen, {"plain": pb.GenerationOptions(top_k=3), "own": pb.GenerationOptions(seed=1)})

    def test_the_text_comes_in_pieces(self):
        with serving(pieces("sho", "rt")) as server:
            self.assertEqual(self.twin.pieces(server.address, "text", num_beams=2), ["sho", "rt"])
            self.assertEqual(server.calls[0].request.options.num_beams, 2)

    def test_metadata_goes_with_each_attempt(self):
        turns = iter("12345")
        with serving(refuses(grpc.StatusCode.UNAVAILABLE, "DRAINING", retry=0.01), says("short")) as server:
            self.twin.summarize(
                server.address, "text", request_id="mine", metadata=[("Traceparent", TRACE), ("x-bin", b"\0\xff")],
                client={"metadata": lambda: {"x-turn": next(turns)}})
            first, second = [call.metadata for call in server.calls]
        for seen in (first, second):
            self.assertEqual((seen["traceparent"], seen["x-bin"], seen["x-request-id"]), (TRACE, b"\0\xff", "mine"))
        self.assertEqual((first["x-turn"], second["x-turn"]), ("1", "2"))

    def test_authorization_may_be_metadata_on_this_machine(self):
        with serving(says("short")) as server:
            self.twin.summarize(server.address, "text", metadata={"authorization": "Basic x"})
            self.assertEqual(server.calls[0].metadata["authorization"], "Basic x")

    def test_no_proxy_is_asked_for_this_machine(self):
        with serving(says("a")) as one, serving(says("a")) as two, Proxy() as proxy:
            port = one.address.rpartition(":")[2]
            for name in ("http_proxy", "https_proxy", "grpc_proxy"):
                with mock.patch.dict(os.environ, {name: proxy.address, "no_proxy": "", "no_grpc_proxy": ""}):
                    for address in (one.address, f"localhost:{port}", f"dns:///localhost:{port}",
                                    [one.address, two.address]):
                        self.assertEqual(self.twin.summarize(address, "text", timeout=20).text, "a")
            self.assertEqual(proxy.asked, [])

    def test_a_proxy_is_asked_for_another_machine(self):
        with Proxy() as proxy, mock.patch.dict(os.environ, {"http_proxy": proxy.address, "no_proxy": ""}):
            with self.assertRaises(precis.Unavailable):
                # An address for documentation: nothing is sent there, the proxy refuses it.
                self.twin.summarize("192.0.2.1:50051", "text", timeout=20,
                                    client={"retry": precis.RetryPolicy(max_attempts=1)})
            self.assertEqual(set(proxy.asked), {"CONNECT 192.0.2.1:50051 HTTP/1.1"})


class SyncTest(Cases, unittest.TestCase):
    twin = Sync

    def test_pieces_of_a_stream_leave_its_summary(self):
        with serving(pieces("sho", "rt")) as server, precis.Client(server.address) as client:
            stream = client.stream("text")
            self.assertEqual("".join(stream.pieces()), "short")
            self.assertEqual((stream.text, stream.summary.text), ("short", "short"))

    def test_leaving_the_pieces_early_cancels_the_call(self):
        ended = threading.Event()

        def answer(call):
            call.context.add_callback(ended.set)
            yield event(delta=pb.Delta(text="sho"))
            ended.wait(60)
        with serving(answer) as server, precis.Client(server.address) as client:
            texts = client.stream_text("text")
            self.assertEqual(next(texts), "sho")
            texts.close()
            self.assertTrue(ended.wait(20))


class AsyncTest(Cases, unittest.TestCase):
    twin = Async

    def test_leaving_the_pieces_early_cancels_the_call(self):
        ended = threading.Event()

        def answer(call):
            call.context.add_callback(ended.set)
            yield event(delta=pb.Delta(text="sho"))
            ended.wait(60)

        async def run(address):
            async with precis.AsyncClient(address) as client:
                texts = client.stream_text("text")
                self.assertEqual(await texts.__anext__(), "sho")
                await texts.aclose()
                self.assertTrue(await asyncio.to_thread(ended.wait, 20))
        with serving(answer) as server:
            asyncio.run(run(server.address))


if __name__ == "__main__":
    unittest.main(verbosity=2)
