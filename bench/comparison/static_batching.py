"""A queue in front of an engine that batches statically, simulated from measured times of batches.

While the engine is busy requests wait; when it is free it takes the first of them, `max_batch` at most, pads all to
the longest source and generates as many tokens as the longest summary has. All end with the batch. That is what a
peer does where nobody writes a scheduler for it; the best max_batch counts.
"""
import math

MASK = (1 << 64) - 1
ARRIVALS_OVER_BOUND = 10  # as the command: a queue that grows must have the time to become too long


def poisson_arrivals(seed, rate_per_s, count):
    """The arrivals of `precis bench serving` with that seed (tools/bench/arrivals.cc)."""
    state, at, arrivals = seed & MASK, 0.0, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        uniform = ((z ^ (z >> 31)) >> 11) * 2.0**-53
        at += -math.log1p(-uniform) / rate_per_s
        arrivals.append(at)
    return arrivals


def percentile(values, share):
    """Nearest rank, as the command."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def between(points, x, value):
    """value() at x, linear between the two points round it; beyond them by the last two (one: constant)."""
    if len(points) == 1:
        return value(points[0])
    above = next((i for i, point in enumerate(points) if point >= x and i > 0), len(points) - 1)
    low, high = points[above - 1], points[above]
    share = (x - low) / (high - low)
    return value(low) + share * (value(high) - value(low))


class BatchTimes:
    """Seconds of a batch, from measurements on a grid of batch sizes and source lengths."""

    def __init__(self, lines):
        self.encode_s, self.step_s = {}, {}
        for line in lines:
            at = line["batch"], line["source"]
            total_s, encode_s = line["total_s"], min(line["encode_s"], line["total_s"])
            # Of several rounds the best.
            self.encode_s[at] = min(encode_s, self.encode_s.get(at, math.inf))
            self.step_s[at] = min((total_s - encode_s) / line["new"], self.step_s.get(at, math.inf))
        self.batches = sorted({batch for batch, _ in self.encode_s})
        self.sources = sorted({source for _, source in self.encode_s})
        missing = [(b, s) for b in self.batches for s in self.sources if (b, s) not in self.encode_s]
        if missing or not self.encode_s:
            raise ValueError(f"the grid of batch times lacks {missing or 'everything'}")
        self.known = {}

    def seconds(self, batch, source, new):
        if (batch, source) not in self.known:
            self.known[batch, source] = tuple(
                max(between(self.batches, batch,
                            lambda b: between(self.sources, source, lambda s: table[b, s])), 0)
                for table in (self.encode_s, self.step_s))
        encode_s, step_s = self.known[batch, source]
        return encode_s + new * step_s

    def of(self, items):
        return self.seconds(len(items), max(source for source, _ in items), max(new for _, new in items))


def latencies(arrivals, items, times, max_batch):
    """Seconds from arrival to end, a request each."""
    done, first, free_at = [], 0, 0.0
    while first < len(items):
        start = max(free_at, arrivals[first])
        last = first
        while last < len(items) and last - first < max_batch and arrivals[last] <= start:
            last += 1
        free_at = start + times.of(items[first:last])
        done.extend(free_at - arrivals[i] for i in range(first, last))
        first = last
    return done


def unloaded_p95(trace, times):
    return percentile([times.of([item]) for item in trace], 0.95)


def find_highest_rate(first, holds, ratio=1.05, trials=40):
    """As the command's search; simulated rates cost nothing, so it may try more."""
    held, failed, rate = 0.0, math.inf, first
    for _ in range(trials):
        if failed <= held * ratio:
            break
        if holds(rate):
            held = rate
        else:
            failed = rate
        rate = held * 2 if failed == math.inf else failed / 2 if held == 0 else math.sqrt(held * failed)
    return held


def request_count(rate, seconds, max_requests=1000, fewest=20):
    return max(min(math.ceil(rate * seconds), max_requests), fewest)


def highest_rate(trace, times, bound_s, seconds=20.0, seed=1):
    """(requests a second, max_batch) of the best static batch whose p95 is at most bound_s."""
    seconds = max(seconds, ARRIVALS_OVER_BOUND * bound_s)

    def rate_of(max_batch):
        def holds(rate):
            count = request_count(rate, seconds)
            items = [trace[i % len(trace)] for i in range(count)]
            waited = latencies(poisson_arrivals(seed, rate, count), items, times, max_batch)
            return percentile(waited, 0.95) <= bound_s
        return find_highest_rate(1.0, holds)

    return max((rate_of(batch), batch) for batch in times.batches)


def offline_rate(trace, times):
    """(documents a second, batch) of the best batch size, with all documents there and sorted by length."""
    ordered = sorted(trace)

    def seconds(batch):
        return sum(times.of(ordered[i:i + batch]) for i in range(0, len(ordered), batch))

    return max((len(ordered) / seconds(batch), batch) for batch in times.batches)
