"""Retries, options, addresses and the state of a bulk call: no server, no clock."""

import dataclasses
import unittest

import grpc

import precis_client
from precis_client import Document, LongDocumentPolicy, Options, RetryPolicy, Tls
from precis_client.bulk import Bulk
from precis_client.connection import Connection
from precis_client.errors import PrecisError, from_rpc_error, make_error
from precis_client.retry import Attempts, Deadline, RetryBudget
from precis_client.v1 import summarization_pb2 as pb
from fake_server import status, summary

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def attempts(timeout=100.0, policy=RetryPolicy(), budget=None, addresses=1, draw=max):
    clock = [0.0]
    deadline = Deadline(timeout, lambda: clock[0])
    return Attempts(policy, budget or RetryBudget(policy), deadline, addresses, draw)


class RpcError:
    def __init__(self, code, details):
        self.code, self.details = lambda: code, lambda: details
        self.initial_metadata = self.trailing_metadata = lambda: ()


class ErrorTest(unittest.TestCase):
    def test_what_grpc_says_of_a_lost_connection_is_unavailable(self):
        for code, details, expected in (
                (grpc.StatusCode.INTERNAL, "Internal error from Core", UNAVAILABLE),
                (grpc.StatusCode.CANCELLED, "CANCELLED", UNAVAILABLE),
                (grpc.StatusCode.INTERNAL, "a bug", grpc.StatusCode.INTERNAL),
                (grpc.StatusCode.CANCELLED, "Locally cancelled by application!",
                 grpc.StatusCode.CANCELLED)):
            self.assertEqual(from_rpc_error(RpcError(code, details)).code, expected, details)


class RetryTest(unittest.TestCase):
    def test_only_unavailable_and_exhausted_are_tried_again(self):
        for code in grpc.StatusCode:
            delay = attempts().delay_after(make_error(code, "x"))
            self.assertEqual(delay is not None, code in (UNAVAILABLE, EXHAUSTED), code)

    def test_the_servers_time_is_the_least_and_is_spread(self):
        error = make_error(EXHAUSTED, "x", retry_after=3.0)
        self.assertEqual(attempts(draw=min).delay_after(error), 3.0)
        self.assertEqual(attempts(draw=max).delay_after(error), 3.1)

    def test_backoff_doubles_up_to_its_limit_and_is_drawn_from_its_upper_half(self):
        policy = RetryPolicy(max_attempts=9, initial_backoff=1, max_backoff=4)
        high, low = attempts(policy=policy, draw=max), attempts(policy=policy, draw=min)
        error = make_error(UNAVAILABLE, "x")
        self.assertEqual([high.delay_after(error) for _ in range(4)], [1, 2, 4, 4])
        self.assertEqual([low.delay_after(error) for _ in range(4)], [0.5, 1, 2, 2])

    def test_no_attempt_after_the_deadline_is_waited_for(self):
        error = make_error(EXHAUSTED, "x", retry_after=5.0)
        self.assertIsNone(attempts(timeout=5.0).delay_after(error))
        self.assertIsNotNone(attempts(timeout=6.0).delay_after(error))

    def test_the_number_of_attempts_is_bounded_and_told(self):
        tried = attempts(policy=RetryPolicy(max_attempts=3))
        error = make_error(UNAVAILABLE, "x")
        self.assertIsNotNone(tried.delay_after(error))
        self.assertIsNotNone(tried.delay_after(error))
        self.assertIsNone(tried.delay_after(error))
        self.assertEqual(error.attempts, 3)

    def test_the_server_may_ask_not_to_be_tried_again(self):
        error = make_error(EXHAUSTED, "x", retry_allowed=False)
        self.assertIsNone(attempts().delay_after(error))

    def test_half_a_budget_of_failures_ends_retries_and_successes_bring_them_back(self):
        policy = RetryPolicy(budget_tokens=10, budget_refill=0.5)
        budget = RetryBudget(policy)
        error = make_error(UNAVAILABLE, "x")
        allowed = [attempts(policy=policy, budget=budget).delay_after(error) is not None
                   for _ in range(6)]
        self.assertEqual(allowed, [True] * 4 + [False] * 2)
        for _ in range(6):  # 4 of 10 tokens are left; 3 come back, and the next failure takes 1
            budget.succeeded()
        self.assertIsNotNone(attempts(policy=policy, budget=budget).delay_after(error))

    def test_another_server_is_asked_before_the_one_that_leaves_wishes(self):
        error = make_error(UNAVAILABLE, "x", reason="DRAINING", retry_after=5.0)
        two = attempts(addresses=2)
        for _ in range(3):  # not all are connected at first, so some are asked twice
            self.assertLess(two.delay_after(error), 1.0)
        self.assertGreaterEqual(two.delay_after(error), 5.0)  # all were asked
        self.assertGreaterEqual(attempts().delay_after(error), 5.0)
        full = make_error(EXHAUSTED, "x", reason="QUEUE_FULL", retry_after=1.0)
        self.assertGreaterEqual(attempts(addresses=2).delay_after(full), 1.0)

    def test_a_timeout_is_a_finite_time(self):
        for wrong in (0, -1, float("inf"), float("nan")):
            with self.assertRaisesRegex(ValueError, "timeout"):
                Deadline(wrong)


class OptionsTest(unittest.TestCase):
    def test_fields_are_those_of_the_proto(self):
        ours = [field.name for field in dataclasses.fields(Options)]
        self.assertEqual(ours, [f.name for f in pb.GenerationOptions.DESCRIPTOR.fields])

    def test_every_enum_has_every_value_of_the_proto(self):
        for name, theirs in pb.DESCRIPTOR.enum_types_by_name.items():
            ours = getattr(precis_client, name)
            prefix = next(v.name for v in theirs.values if v.number == 0)[:-len("UNSPECIFIED")]
            wanted = {v.name[len(prefix):]: v.number for v in theirs.values}
            have = {one.name: one.value for one in ours}
            self.assertEqual(have, {k: v for k, v in wanted.items() if v or "UNSPECIFIED" in have})

    def test_answers_have_the_fields_of_the_proto(self):
        for name in ("Summary", "SummarySequence", "Timings", "Model", "TokenLogProbability",
                     "Accepted", "Progress", "Delta", "Finished"):
            ours = {field.name for field in dataclasses.fields(getattr(precis_client, name))}
            theirs = {f.name for f in pb.DESCRIPTOR.message_types_by_name[name].fields}
            self.assertEqual(ours, theirs, name)

    def test_what_is_set_comes_back_and_absent_is_not_zero(self):
        self.assertEqual(Options().to_proto(), pb.GenerationOptions())
        options = Options(top_k=0, temperature=0.5, stop=("a", "b"), suppressed_token_ids=(),
                          bad_words=((1, 2), (3,)), prefix="", seed=2**64 - 1,
                          long_document_policy=LongDocumentPolicy.WINDOWS)
        message = options.to_proto()
        self.assertTrue(message.HasField("top_k") and message.HasField("suppressed_token_ids"))
        self.assertEqual(Options.from_proto(message), options)

    def test_a_wrong_value_names_its_field(self):
        for wrong in ({"top_k": -1}, {"prefix": 3}, {"stop": "abc"}, {"bad_words": 1}):
            with self.assertRaisesRegex((TypeError, ValueError), "options." + next(iter(wrong))):
                Options(**wrong).to_proto()

    def test_a_document_is_text_or_ids(self):
        for wrong in (Document(), Document("a", [1])):
            with self.assertRaises(ValueError):
                wrong.fill(pb.SummarizeRequest())
        self.assertTrue(Document(token_ids=[]).fill(pb.SummarizeRequest()).HasField("token_ids"))


def connection(addresses, token=None, tls=None, allow=False):
    return Connection.make(addresses, tls, token, None, 1 << 20, allow)


class ConnectionTest(unittest.TestCase):
    def test_addresses_become_grpcs_names(self):
        self.assertEqual(connection("host:1").target(), "host:1")
        self.assertEqual(connection(["1.2.3.4:5", "1.2.3.5:5"]).target(), "ipv4:1.2.3.4:5,1.2.3.5:5")
        self.assertEqual(connection(["[::1]:5", "[::2]:5"]).target(), "ipv6:[::1]:5,[::2]:5")
        for wrong in ([], [""], ["a:1", "b:1"], ["1.2.3.4:5", "[::1]:5"]):
            with self.assertRaisesRegex(ValueError, "addresses"):
                connection(wrong)

    def test_a_token_goes_nowhere_in_plain_text_unless_it_is_meant(self):
        for local in ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/tmp/x"):
            connection(local, token="t")
        with self.assertRaisesRegex(ValueError, "TLS"):
            connection("10.0.0.1:1", token="t")
        connection("10.0.0.1:1", token="t", allow=True)
        connection("10.0.0.1:1", token="t", tls=Tls())

    def test_certificate_and_key_go_together(self):
        with self.assertRaisesRegex(ValueError, "together"):
            Tls(certificate=b"x").credentials()


def bulk(outstanding=2, **policy):
    return Bulk(outstanding, lambda: attempts(policy=RetryPolicy(**policy)), Document())


def answer(request, text="short"):
    return pb.SummarizeManyResponse(id=request.id, summary=summary(text))


class BulkTest(unittest.TestCase):
    def test_room_is_what_is_neither_waiting_nor_out(self):
        state = bulk()
        state.add("a")
        self.assertTrue(state.has_room())
        state.add("b")
        self.assertFalse(state.has_room())
        first = state.next_request(0)
        self.assertFalse(state.has_room())
        self.assertEqual(state.answered(answer(first), 0).unwrap().text, "short")
        self.assertTrue(state.has_room())

    def test_what_was_out_when_a_stream_failed_is_sent_again_under_a_new_id(self):
        state = bulk()
        state.add("a")
        state.add("b")
        state.end_source()
        sent = [state.next_request(0) for _ in range(2)]
        texts, ids = [r.text for r in sent], {r.id for r in sent}
        self.assertIsNotNone(state.stream_failed(make_error(UNAVAILABLE, "gone")))
        again = [state.next_request(0) for _ in range(2)]
        self.assertEqual([r.text for r in again], texts)
        self.assertFalse(ids & {r.id for r in again})
        self.assertEqual([state.answered(answer(r), 0).index for r in again], [0, 1])
        self.assertTrue(state.is_done())

    def test_an_item_that_was_refused_waits_and_an_item_that_is_wrong_does_not(self):
        state = bulk()
        state.add(Document("a", id="mine"))
        request = state.next_request(0)
        refused = pb.SummarizeManyResponse(id=request.id)
        refused.error.MergeFromString(status(EXHAUSTED, "POOL_FULL", retry=1.0).SerializeToString())
        self.assertIsNone(state.answered(refused, 10.0))
        self.assertIsNone(state.next_request(10.5))
        self.assertFalse(state.is_done())
        request = state.next_request(state.next_time())
        wrong = pb.SummarizeManyResponse(id=request.id)
        invalid = status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", violation=("text", "no"))
        wrong.error.MergeFromString(invalid.SerializeToString())
        result = state.answered(wrong, 12.0)
        self.assertEqual(result.document.id, "mine")
        self.assertEqual(result.error.attempts, 2)
        self.assertEqual(result.error.field_violations[0].field, "text")
        with self.assertRaises(PrecisError):
            result.unwrap()

    def test_streams_that_only_fail_end_the_call_and_answers_start_the_count_anew(self):
        state = bulk(max_attempts=2, budget_tokens=100)
        error = make_error(UNAVAILABLE, "gone")
        for text in ("a", "b"):
            state.add(text)
            self.assertIsNotNone(state.stream_failed(error))
            state.answered(answer(state.next_request(0)), 0)
        state.add("c")
        self.assertIsNotNone(state.stream_failed(error))
        self.assertIsNone(state.stream_failed(error))


if __name__ == "__main__":
    unittest.main(verbosity=2)
