"""Client and AsyncClient against a server whose answers are written down: attempts, deadlines, streams,
bulk, tokens, TLS. Every test that names no twin runs for both (twins.py).
"""

import asyncio
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import unittest

import grpc
from grpc_status import rpc_status

import precis_client as precis
from fake_server import event, refuse, refuses, says, serving, status, summary
from twins import Async, Sync
from precis_client.v1 import summarization_pb2 as pb

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Cases:
    """What holds for both twins; `twin` is one of the two of twins.py."""

    def test_a_refusal_is_tried_again_no_earlier_than_asked(self):
        full = refuses(EXHAUSTED, "QUEUE_FULL", retry=0.2, pushback="200")
        with serving(full, full, says("short")) as server:
            start = time.monotonic()
            self.assertEqual(self.twin.summarize(server.address, "text").text, "short")
            self.assertGreaterEqual(time.monotonic() - start, 0.4)
            self.assertEqual(len(server.calls), 3)

    def test_what_cannot_help_is_not_tried_again_and_says_all(self):
        wrong = refuses(INVALID, "INVALID_ARGUMENT", violation=("options.top_p", "is 2"))
        with serving(wrong) as server:
            with self.assertRaises(precis.InvalidRequest) as caught:
                self.twin.summarize(server.address, "text", precis.Options(top_p=2.0))
            self.assertEqual(len(server.calls), 1)
        error = caught.exception
        self.assertEqual((error.code, error.reason), (INVALID, "INVALID_ARGUMENT"))
        self.assertEqual(error.field_violations,
                         (precis.FieldViolation("options.top_p", "is 2"),))
        self.assertEqual(error.attempts, 1)
        self.assertIsNone(error.retry_after)

    def test_the_last_refusal_is_raised_with_its_reason_and_time(self):
        full = refuses(EXHAUSTED, "QUEUE_FULL", retry=0.01)
        with serving(full) as server:
            with self.assertRaises(precis.Overloaded) as caught:
                self.twin.summarize(server.address, "text",
                                    client={"retry": precis.RetryPolicy(max_attempts=3, wait_when_full=False)})
            self.assertEqual(len(server.calls), 3)
        self.assertEqual(caught.exception.attempts, 3)
        self.assertEqual(caught.exception.retry_after, 0.01)

    def test_a_negative_pushback_ends_it(self):
        with serving(refuses(EXHAUSTED, "QUOTA", retry=0.01, pushback="-1")) as server:
            with self.assertRaises(precis.Overloaded):
                self.twin.summarize(server.address, "text")
            self.assertEqual(len(server.calls), 1)

    def test_the_deadline_holds_for_all_attempts_together(self):
        with serving(refuses(EXHAUSTED, "QUEUE_FULL", retry=0.4)) as server:
            with self.assertRaises((precis.Overloaded, precis.DeadlineExceeded)):
                self.twin.summarize(server.address, "text", timeout=1.0)
            left = [call.time_remaining for call in server.calls]
            self.assertGreaterEqual(len(left), 2)
            self.assertLess(left[0], 1.1)  # gRPC rounds it up
            self.assertLessEqual(left[1], left[0] - 0.3)

    def test_every_call_has_a_deadline(self):
        with serving(says("short")) as server:
            self.twin.summarize(server.address, "text")
            self.twin.summarize(server.address, "text", client={"timeout": 7.0})
            default, ours = [call.time_remaining for call in server.calls]
            self.assertTrue(50 < default < 61 and 0 < ours < 8, (default, ours))

    def test_a_call_that_takes_too_long_raises_deadline_exceeded(self):
        def slow(call):
            time.sleep(1.0)
            return pb.SummarizeResponse()
        with serving(slow) as server:
            with self.assertRaises(precis.DeadlineExceeded):
                self.twin.summarize(server.address, "text", timeout=0.3)

    def test_a_stream_is_tried_again_before_its_first_delta(self):
        def early(call):
            yield event(accepted=pb.Accepted(request_id="1"))
            refuse(call.context, UNAVAILABLE, "STOPPED", retry=0.05)

        def whole(call):
            yield event(accepted=pb.Accepted(request_id="2"))
            yield event(delta=pb.Delta(text="sho"))
            yield event(delta=pb.Delta(text="rt"))
            yield event(finished=pb.Finished(summary=summary("short")))
        seen = []
        with serving(early, whole) as server:
            text, last = self.twin.stream(server.address, seen)
            self.assertEqual(len(server.calls), 2)
        self.assertEqual((text, last.text), ("short", "short"))
        self.assertEqual([type(one).__name__ for one in seen],
                         ["Accepted", "Accepted", "Delta", "Delta", "Finished"])

    def test_a_stream_is_never_tried_again_after_a_delta(self):
        def broken(call):
            yield event(delta=pb.Delta(text="sho"))
            refuse(call.context, UNAVAILABLE, "STOPPED", retry=0.01)
        seen = []
        with serving(broken) as server:
            with self.assertRaises(precis.Unavailable) as caught:
                self.twin.stream(server.address, seen)
            self.assertEqual(len(server.calls), 1)
        self.assertEqual(caught.exception.reason, "STOPPED")
        self.assertEqual([one.text for one in seen], ["sho"])

    def test_a_stream_that_breaks_is_resumed_with_what_was_not_answered(self):
        texts = [f"document {number}" for number in range(50)]
        most = []

        def some(call):
            for number, request in enumerate(call.request):
                if number == 7:
                    refuse(call.context, UNAVAILABLE, "DRAINING", retry=0.01)
                yield pb.SummarizeManyResponse(id=request.id, summary=summary(request.text))

        def rest(call):
            # Takes as many as it gets before it answers: the client must stop at its limit.
            waiting, lock, ended = [], threading.Condition(), []

            def read():
                for request in call.request:
                    with lock:
                        waiting.append(request)
                        lock.notify()
                with lock:
                    ended.append(True)
                    lock.notify()
            threading.Thread(target=read, daemon=True).start()
            while True:
                with lock:
                    lock.wait_for(lambda: ended or len(waiting) >= 5, timeout=0.3)
                    if ended and not waiting:
                        return
                    most.append(len(waiting))
                    batch, waiting[:] = list(waiting), []
                for request in batch:
                    yield pb.SummarizeManyResponse(id=request.id, summary=summary(request.text))

        with serving(some, rest) as server:
            results = self.twin.many(server.address, iter(texts), outstanding=5)
            self.assertEqual(len(server.calls), 2)
        self.assertEqual(sorted(one.unwrap().text for one in results), sorted(texts))
        self.assertEqual({one.index for one in results}, set(range(50)))
        self.assertEqual(max(most), 5)

    def test_an_item_that_fails_fails_alone(self):
        def answer(call):
            for request in call.request:
                made = pb.SummarizeManyResponse(id=request.id)
                if request.text == "bad":
                    wrong = status(INVALID, "TOO_LARGE", violation=("text", "long"))
                    made.error.MergeFromString(wrong.SerializeToString())
                else:
                    made.summary.CopyFrom(summary(request.text))
                yield made
        with serving(answer) as server:
            results = self.twin.many(
                server.address, ["a", precis.Document("bad", id=9), "c"])
        errors = [one for one in results if one.error]
        self.assertEqual(len(results), 3)
        self.assertEqual([(one.document.id, one.error.reason) for one in errors], [(9, "TOO_LARGE")])

    def test_what_the_callers_documents_raise_is_raised(self):
        def answer(call):
            for request in call.request:
                yield pb.SummarizeManyResponse(id=request.id, summary=summary(request.text))

        def documents():
            yield "a"
            raise KeyError("mine")
        with serving(answer) as server:
            with self.assertRaisesRegex(KeyError, "mine"):
                self.twin.many(server.address, documents())

    def test_a_bulk_call_without_documents_ends(self):
        with serving(lambda call: iter(list(call.request))) as server:
            self.assertEqual(self.twin.many(server.address, []), [])

    def test_a_bulk_call_has_a_deadline(self):
        def never(call):
            time.sleep(1.5)
            yield from ()
        with serving(never) as server:
            with self.assertRaises(precis.DeadlineExceeded):
                self.twin.many(server.address, ["a"], timeout=0.5)

    def test_the_token_is_asked_for_each_attempt(self):
        tokens = iter(["old", "new"])
        with serving(refuses(UNAVAILABLE, "DRAINING", retry=0.01), says("short")) as server:
            self.twin.summarize(server.address, "text", request_id="r-1",
                                client={"token": lambda: next(tokens)})
            self.assertEqual([call.metadata["authorization"] for call in server.calls],
                             ["Bearer old", "Bearer new"])
            self.assertEqual(server.calls[1].metadata["x-request-id"], "r-1")

    def test_addresses_are_asked_in_turns_and_a_dead_one_is_left_out(self):
        with serving(says("a")) as one, serving(says("b")) as two:
            both = [one.address, two.address]
            self.repeat(both, 20)
            self.assertTrue(one.calls and two.calls)
            two.stop()
            before = len(one.calls)
            self.repeat(both, 10)
            self.assertEqual(len(one.calls) - before, 10)

    def test_a_server_that_leaves_sends_us_to_the_next_at_once(self):
        leaving = refuses(UNAVAILABLE, "DRAINING", retry=30.0, pushback="30000")
        with serving(leaving) as one, serving(says("b")) as two:
            start = time.monotonic()
            self.repeat([one.address, two.address], 6)
            self.assertLess(time.monotonic() - start, 25)
            self.assertTrue(one.calls)
            self.assertEqual(len(two.calls), 6)

    def test_tls_checks_the_server_and_mtls_the_client(self):
        with tempfile.TemporaryDirectory() as folder:
            files = make_certificates(folder)
            read = {name: pathlib.Path(path).read_bytes() for name, path in files.items()}
            credentials = grpc.ssl_server_credentials(
                [(read["server.key"], read["server.pem"])], read["ca.pem"], True)
            with serving(says("short"), credentials=credentials) as server:
                good = precis.Tls(files["ca.pem"], files["client.pem"], files["client.key"],
                                  server_name="precis.test")
                said = self.twin.summarize(server.address, "text",
                                           client={"tls": good, "token": "secret"})
                self.assertEqual(said.text, "short")
                self.assertEqual(server.calls[0].metadata["authorization"], "Bearer secret")
                once = precis.RetryPolicy(max_attempts=1)
                for bad in (precis.Tls(read["ca.pem"], server_name="precis.test"),  # no certificate
                            precis.Tls(files["ca.pem"], files["client.pem"], files["client.key"],
                                       server_name="other.test"),
                            precis.Tls(read["other.pem"], files["client.pem"], files["client.key"],
                                       server_name="precis.test")):
                    with self.assertRaises(precis.PrecisError):
                        self.twin.summarize(server.address, "text", timeout=10,
                                            client={"tls": bad, "retry": once})
                self.assertEqual(len(server.calls), 1)

    def test_no_server_is_unavailable(self):
        with serving(says("x")) as server:
            address = server.address
        with self.assertRaises(precis.Unavailable) as caught:
            self.twin.summarize(address, "text",
                                client={"retry": precis.RetryPolicy(max_attempts=2)})
        self.assertEqual(caught.exception.attempts, 2)


def make_certificates(folder):
    """A CA, a server and a client of it, and another CA."""
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, cwd=folder, capture_output=True)
    key = ["-newkey", "rsa:2048", "-nodes"]
    for name in ("ca", "other"):
        openssl("req", "-x509", *key, "-days", "2", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name in ("server", "client"):
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        with open(os.path.join(folder, "names"), "w", encoding="ascii") as file:
            file.write("subjectAltName=DNS:precis.test\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem")
    names = ("ca.pem", "other.pem", "server.pem", "server.key", "client.pem", "client.key")
    return {name: os.path.join(folder, name) for name in names}


class SyncTest(Cases, unittest.TestCase):
    twin = Sync

    def repeat(self, addresses, times):
        with precis.Client(addresses) as client:
            for _ in range(times):
                client.summarize("text")

    def test_googleapis_and_grpc_status_read_the_same_error(self):
        # Registered twice, google.rpc's messages would have failed this file's imports.
        with serving(refuses(EXHAUSTED, "QUEUE_FULL", retry=1.0)) as server:
            with grpc.insecure_channel(server.address) as channel:
                call = channel.unary_unary("/precis.v1.SummarizationService/ListModels")
                with self.assertRaises(grpc.RpcError) as caught:
                    call(b"", timeout=10)
        self.assertEqual(rpc_status.from_call(caught.exception).code, EXHAUSTED.value[0])

    def test_leaving_a_bulk_call_early_cancels_it(self):
        ended = threading.Event()

        def answer(call):
            call.context.add_callback(ended.set)
            for request in call.request:
                yield pb.SummarizeManyResponse(id=request.id, summary=summary("x"))
        with serving(answer) as server, precis.Client(server.address) as client:
            results = client.summarize_many(f"{n}" for n in range(10**9))
            next(results)
            results.close()
            self.assertTrue(ended.wait(10))


class AsyncTest(Cases, unittest.TestCase):
    twin = Async

    def repeat(self, addresses, times):
        async def run():
            async with precis.AsyncClient(addresses) as client:
                for _ in range(times):
                    await client.summarize("text")
        asyncio.run(run())

    def test_documents_may_come_asynchronously(self):
        async def documents():
            for text in "abc":
                await asyncio.sleep(0)
                yield text

        def answer(call):
            for request in call.request:
                yield pb.SummarizeManyResponse(id=request.id, summary=summary(request.text))
        with serving(answer) as server:
            results = self.twin.many(server.address, documents())
        self.assertEqual(sorted(one.unwrap().text for one in results), ["a", "b", "c"])

    def test_a_cancelled_task_cancels_its_call(self):
        ended = threading.Event()

        def slow(call):
            call.context.add_callback(ended.set)
            ended.wait(10)
            return pb.SummarizeResponse()

        async def run(address, server):
            async with precis.AsyncClient(address) as client:
                task = asyncio.ensure_future(client.summarize("text"))
                while not server.calls:
                    await asyncio.sleep(0.01)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                self.assertTrue(await asyncio.to_thread(ended.wait, 8))
        with serving(slow) as server:
            asyncio.run(run(server.address, server))


if __name__ == "__main__":
    unittest.main(verbosity=2)
