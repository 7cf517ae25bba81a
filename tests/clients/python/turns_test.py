"""Whose turn it is at a full server: the window and the line, with a clock and a server of their own."""

import collections
import unittest

import grpc

from precis_client import RetryPolicy
from precis_client.errors import ABANDONED, make_error
from precis_client.turns import Line, Window, too_late

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
FULL = make_error(EXHAUSTED, "the queue is full", reason="QUEUE_FULL", retry_after=1.0)


def window():
    return Window(RetryPolicy())


def taken(made, calls, now=0.0):
    for _ in range(calls):
        assert made.has_room(now)
        made.take(now)
    return made


class WindowTest(unittest.TestCase):
    def test_there_is_no_limit_until_a_refusal(self):
        made = taken(window(), 10000)
        for error in (None, make_error(grpc.StatusCode.INVALID_ARGUMENT, "x"), ABANDONED,
                      make_error(EXHAUSTED, "without a time")):
            made.give_back(error, 0.0)
        self.assertTrue(made.has_room(0.0))

    def test_what_a_full_server_keeps_is_the_limit(self):
        made = taken(window(), 600)
        for _ in range(344):
            made.give_back(FULL, 0.0)
        self.assertEqual(made.out, 256)
        self.assertFalse(made.has_room(0.5))
        made.give_back(None, 0.5)  # one ends, one may go
        self.assertTrue(made.has_room(0.5))
        made.take(0.5)
        self.assertFalse(made.has_room(0.5))

    def test_one_call_tries_when_the_servers_time_has_come(self):
        made = taken(window(), 1)
        made.give_back(FULL, 0.0)  # another client's calls fill the server
        self.assertEqual(made.next_try(), 1.0)
        self.assertFalse(made.has_room(0.9))
        made = taken(made, 1, now=1.0)
        self.assertFalse(made.has_room(1.9))
        made.give_back(FULL, 1.5)
        self.assertFalse(made.has_room(2.4))
        made = taken(made, 1, now=2.5)
        made.give_back(None, 2.6)
        self.assertTrue(made.has_room(2.6))

    def test_it_grows_slowly_near_the_limit_and_fast_when_there_is_more_room(self):
        made = taken(window(), 11)
        made.give_back(FULL, 0.0)
        rounds, most = 0, 10
        while most < 500:
            for _ in range(made.out):
                made.give_back(None, 0.0)
            while made.has_room(0.0):
                made.take(0.0)
            if rounds == 0:
                self.assertLessEqual(made.out, 11)
            rounds, most = rounds + 1, made.out
        self.assertLess(rounds, 32)  # one more a round would take 490

    def test_it_does_not_grow_where_it_holds_nothing_back(self):
        made = taken(window(), 11)
        made.give_back(FULL, 0.0)
        for _ in range(10):
            made.give_back(None, 0.0)
        for _ in range(1000):  # one after the other
            taken(made, 1).give_back(None, 0.0)
        taken(made, 10)
        self.assertFalse(made.has_room(0.5))

    def test_a_server_that_is_gone_is_forgotten(self):
        made = taken(window(), 2)
        made.give_back(FULL, 0.0)
        self.assertFalse(made.has_room(0.0))
        made.give_back(make_error(UNAVAILABLE, "gone"), 0.0)
        self.assertTrue(taken(made, 100).has_room(0.0))

    def test_the_policy_may_ask_for_no_limit(self):
        made = taken(Window(RetryPolicy(wait_when_full=False)), 2)
        made.give_back(FULL, 0.0)
        self.assertTrue(made.has_room(0.0))


class LineTest(unittest.TestCase):
    def setUp(self):
        self.line = Line(window())
        self.woken = []

    def enter(self, number, now=0.0):
        return self.line.enter(number, lambda: self.woken.append(number), now)

    def test_first_come_first_served_and_a_refused_call_keeps_its_place(self):
        first, second, third, fourth = (self.line.number() for _ in range(4))
        self.assertTrue(self.enter(first) and self.enter(second))
        self.line.give_back(FULL, 0.0)  # the second's
        self.assertFalse(self.enter(third) or self.enter(fourth))
        self.assertFalse(self.enter(second, 1.0 - 0.01))  # it is back, before the others
        self.woken.clear()
        self.line.give_back(None, 0.999)  # the first's
        self.assertEqual(self.woken[:1], [second])
        self.assertFalse(self.line.try_to_go(third, 0.999))
        self.assertTrue(self.line.try_to_go(second, 0.999))
        self.assertEqual(self.woken[-1], third)

    def test_who_leaves_the_line_lets_the_next_look(self):
        numbers = [self.line.number() for _ in range(4)]
        self.enter(numbers[0])
        self.enter(numbers[1])
        self.line.give_back(FULL, 0.0)
        self.enter(numbers[2])
        self.enter(numbers[3])
        self.assertEqual(self.line.next_try(numbers[3]), float("inf"))
        self.woken.clear()
        self.line.leave(numbers[2])
        self.assertEqual(self.woken, [numbers[3]])
        self.assertEqual(self.line.next_try(numbers[3]), 1.0)
        self.assertTrue(self.line.try_to_go(numbers[3], 1.0))

    def test_600_at_a_server_that_takes_100_are_refused_little_more_than_once(self):
        """A server that does one call at a time, each in 10 ms; a refused call sleeps as it is told."""
        numbers = [self.line.number() for _ in range(600)]
        inside, done, refused, now = collections.deque(), [], 0, 0.0
        sleeping = [(0.0, number) for number in numbers]  # until when
        waiting = []
        while len(done) < 600:
            if inside:
                done.append(inside.popleft())
                self.line.give_back(None, now)
            going = []
            for until, number in [one for one in sleeping if one[0] <= now]:
                sleeping.remove((until, number))
                (going if self.enter(number, now) else waiting).append(number)
            waiting.sort()
            while waiting and self.line.try_to_go(waiting[0], now):
                going.append(waiting.pop(0))
            for number in going:
                if len(inside) < 100:
                    inside.append(number)
                else:
                    refused += 1
                    sleeping.append((now + 1.0, number))
                    self.line.give_back(FULL, now)
            now += 0.01
            self.assertLess(now, 20)
        self.assertEqual(sorted(done), numbers)
        self.assertLess(refused, 500 + 30)
        self.assertLess(now, 6.2)  # 600 calls of 10 ms: the server always had one to do

    def test_a_call_whose_turn_does_not_come_says_why(self):
        error = too_late(FULL, 2)
        self.assertEqual((error.code, error.reason, error.retry_after, error.attempts),
                         (EXHAUSTED, "QUEUE_FULL", 1.0, 2))
        self.assertIn("the queue is full", str(error))


if __name__ == "__main__":
    unittest.main(verbosity=2)
