"""Retries and the state of a bulk call: no server, no clock."""

import unittest

import grpc

from precis_client import Document, RetryPolicy
from precis_client.bulk import Bulk
from precis_client.errors import PrecisError, from_rpc_error, make_error
from precis_client.retry import Attempts, Deadline, RetryBudget
from precis_client.turns import Window
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
            with self.assertRaisesRegex(ValueError, "^timeout: "):
                Deadline(wrong)
        with self.assertRaisesRegex(TypeError, "^timeout: "):
            Deadline("5")

    def test_a_full_servers_word_is_kept_until_the_deadline_and_costs_no_budget(self):
        policy, full = RetryPolicy(max_attempts=2), make_error(EXHAUSTED, "x", retry_after=1.0)
        budget = RetryBudget(policy)
        for _ in range(200):  # as many as callers in a burst
            self.assertIsNotNone(attempts(policy=policy, budget=budget).delay_after(full))
        tried = attempts(policy=policy, budget=budget)
        for count in range(1, 50):
            delay = tried.delay_after(full)
            self.assertTrue(1.0 <= delay <= 2.0, delay)
            self.assertEqual(full.attempts, count)
        # Without a time, or where that is asked for, it is a failure like others.
        self.assertIsNotNone(tried.delay_after(make_error(EXHAUSTED, "x")))
        self.assertIsNone(tried.delay_after(make_error(EXHAUSTED, "x")))
        for policy in (RetryPolicy(max_attempts=2, wait_when_full=False), RetryPolicy(max_attempts=1)):
            tried = attempts(policy=policy)
            given = [tried.delay_after(full) for _ in range(2)]
            self.assertIsNone(given[policy.max_attempts - 1])

    def test_numbers_of_a_policy_are_checked_by_name(self):
        for wrong in ({"max_attempts": 0}, {"max_attempts": "5"}, {"initial_backoff": 0}, {"max_backoff": -1}):
            with self.assertRaisesRegex((TypeError, ValueError), "retry." + next(iter(wrong))):
                RetryPolicy(**wrong)


def bulk(outstanding=2, **policy):
    policy = RetryPolicy(**policy)
    return Bulk(outstanding, lambda: attempts(policy=policy), Window(policy), Document())


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

    def test_what_is_refused_holds_the_rest_back_and_goes_first(self):
        state = bulk(outstanding=3)
        for text in "abc":
            state.add(text)
        a, b = state.next_request(0), state.next_request(0)
        refused = pb.SummarizeManyResponse(id=b.id)
        refused.error.MergeFromString(status(EXHAUSTED, "QUEUE_FULL", retry=1.0).SerializeToString())
        self.assertIsNone(state.answered(refused, 10.0))
        self.assertIsNone(state.next_request(10.5))  # the server holds "a"; more it would refuse
        self.assertLessEqual(11.0, state.next_time())
        self.assertEqual(state.answered(answer(a), 10.6).document.text, "a")
        self.assertEqual(state.next_request(10.7).text, "c")  # "b" is not to come before 11.0
        self.assertIsNone(state.next_request(10.8))
        self.assertEqual(state.next_request(state.next_time()).text, "b")

    def test_a_wrong_document_is_named_by_its_place(self):
        state = bulk(outstanding=9)
        state.add("a")
        for wrong in (5, {"text": "a"}, Document(), Document(text=7), Document(token_ids="ab"),
                      Document("a", options={"num_beams": 1})):
            with self.assertRaisesRegex((TypeError, ValueError), r"^documents\[1\]: "):
                state.add(wrong)

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
