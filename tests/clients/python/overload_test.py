"""Many callers of one client and a server that is full, or gone. Every test runs for both twins."""

import collections
import gc
import threading
import time
import unittest

import grpc

import precis_client as precis
from fake_server import FullServer, event, refuses, serving, status, summary
from precis_client.retry import Attempts, Deadline, RetryBudget
from precis_client.turns_threads import Turns
from precis_client.v1 import summarization_pb2 as pb
from twins import Async, Sync

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


class Cases:
    def test_a_burst_waits_for_its_turn(self):
        full = FullServer(places=4, seconds=0.005, retry=0.05)
        with serving(full) as server:
            given = self.twin.together(server.address, 300)
        self.assertEqual(given, [f"text {number}" for number in range(300)])
        # Most of the first burst is refused once; after that the client knows how many fit.
        self.assertGreater(full.refused, 0)
        self.assertLess(full.refused, 600)

    def test_the_deadline_holds_for_those_who_wait(self):
        with serving(refuses(EXHAUSTED, "QUEUE_FULL", retry=0.2)) as server:
            start = time.monotonic()
            given = self.twin.together(server.address, 50, timeout=3)
            self.assertLess(time.monotonic() - start, 15)
            calls = len(server.calls)
        # One whose turn comes at the very end runs out of time at the server.
        late = [one for one in given if not isinstance(one, precis.DeadlineExceeded)]
        self.assertGreater(len(late), 10)
        self.assertEqual({(type(one), one.reason) for one in late}, {(precis.Overloaded, "QUEUE_FULL")})
        self.assertLess(calls, 200)  # one try each time that the server names, not fifty

    def test_no_call_of_a_burst_waits_for_a_server_that_is_gone(self):
        with serving(refuses(EXHAUSTED, "QUEUE_FULL")) as server:
            address = server.address
        start = time.monotonic()
        given = self.twin.together(address, 100)
        self.assertEqual({type(one) for one in given}, {precis.Unavailable})
        self.assertLess(time.monotonic() - start, 30)  # their deadline is 60

    def test_those_who_wait_find_out_that_the_server_has_gone(self):
        with serving(refuses(EXHAUSTED, "QUEUE_FULL", retry=0.3)) as server:
            def end():
                while len(server.calls) < 20:
                    time.sleep(0.01)
                server.stop()
            thread = threading.Thread(target=end)
            thread.start()
            start = time.monotonic()
            given = self.twin.together(server.address, 40)
            thread.join()
        self.assertEqual({type(one) for one in given}, {precis.Unavailable})
        self.assertLess(time.monotonic() - start, 30)

    def test_documents_in_bulk_wait_for_their_turn(self):
        asked = collections.Counter()

        def answer(call):
            for request in call.request:
                made = pb.SummarizeManyResponse(id=request.id)
                asked[request.text] += 1
                if asked[request.text] <= 7:  # more often than max_attempts
                    full = status(EXHAUSTED, "QUEUE_FULL", retry=0.01)
                    made.error.MergeFromString(full.SerializeToString())
                else:
                    made.summary.CopyFrom(summary(request.text))
                yield made
        texts = [f"document {number}" for number in range(12)]
        with serving(answer) as server:
            results = self.twin.many(server.address, texts, outstanding=4)
        self.assertEqual(sorted(one.unwrap().text for one in results), sorted(texts))


class SyncTest(Cases, unittest.TestCase):
    twin = Sync

    def test_a_stream_that_is_given_up_makes_room(self):
        self.check_room(lambda streams: streams[0].cancel())

    def test_a_stream_that_is_forgotten_makes_room(self):
        def forget(streams):
            streams.clear()
            gc.collect()
        self.check_room(forget)

    def check_room(self, give_up):
        given_up, seen = threading.Event(), []

        def held(call):
            call.context.add_callback(given_up.set)
            yield event(accepted=pb.Accepted(request_id="1"))
            given_up.wait(60)

        def short(call):
            yield event(delta=pb.Delta(text="short"))
        full = refuses(EXHAUSTED, "QUEUE_FULL", retry=30.0)
        with serving(held, full, short) as server, precis.Client(server.address) as client:
            streams = [client.stream("a")]
            next(streams[0])
            with self.assertRaises(precis.Overloaded):
                next(client.stream("b", timeout=20))  # less than the server asks for: raised at once
            third = threading.Thread(target=lambda: seen.extend(client.stream_text("c", timeout=60)))
            third.start()
            third.join(0.3)
            self.assertTrue(third.is_alive())
            self.assertEqual(len(server.calls), 2)  # the server has room for one, so it is not asked
            give_up(streams)
            third.join(20)
        self.assertEqual(seen, ["short"])

    def test_a_turn_may_end_while_its_thread_takes_another(self):
        # As when the collector runs there and finds a stream.
        turns, deadline = Turns(precis.RetryPolicy()), Deadline(60)
        attempts = Attempts(precis.RetryPolicy(), RetryBudget(precis.RetryPolicy()), deadline)
        turn = turns.turn(attempts, deadline)
        turn.enter()

        def end():
            with turns._lock:  # pylint: disable=protected-access
                turn.leave()
        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        thread.join(20)
        self.assertFalse(thread.is_alive())


class AsyncTest(Cases, unittest.TestCase):
    twin = Async


if __name__ == "__main__":
    unittest.main(verbosity=2)
