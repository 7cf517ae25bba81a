"""64 clients at once on real documents, joining and leaving at random.

The documents are the descriptions of the Debian packages on this machine. Every answer must equal the
answer to the same request given alone, while the metrics show that requests really shared steps; and
the pool's peak must be what tokens, slots and KV heads say.
"""

import json
import random
import subprocess
import threading
import time
import unittest

import grpc

import harness
from harness import TEXT, Server, api

CLIENTS = 64
REQUESTS_EACH = 6
PAGE_SLOTS = 16
NEW_TOKENS = 10 * PAGE_SLOTS  # the last page is held for 16 steps


def documents(count):
    listing = subprocess.run(["dpkg-query", "-W", "-f", "${Description}\n<end>\n"], check=True,
                             capture_output=True).stdout.decode(errors="replace")
    texts = sorted({" ".join(t.split()) for t in listing.split("<end>") if len(t) > 200})
    return random.Random(1).sample(texts, min(count, len(texts)))


def pages_of(source_tokens, new_tokens):
    return -(-source_tokens // PAGE_SLOTS) + -(-new_tokens // PAGE_SLOTS)


def options(index):
    """Neighbours of different kinds: greedy, sampled, penalised, beams."""
    kinds = [
        {"num_beams": 1, "min_new_tokens": 30},
        {"num_beams": 1, "no_repeat_ngram_size": 0, "min_new_tokens": 40},
        {"num_beams": 1, "temperature": 0.8, "top_k": 40, "top_p": 0.9, "seed": index},
        {"num_beams": 1, "repetition_penalty": 1.3, "max_new_tokens": 20},
        {"num_beams": 3, "max_new_tokens": 24},
    ]
    return api.GenerationOptions(**kinds[index % len(kinds)])


def answer_of(stub, request, kind):
    """The texts of a reply; for streams the deltas joined must be the text."""
    if kind == "unary":
        summary = stub.Summarize(request).summary
    else:
        stream = stub.StreamSummarize(api.StreamSummarizeRequest(
            text=request.text, options=request.options))
        joined = ""
        for event in stream:
            joined += event.delta.text
            if event.WhichOneof("event") == "finished":
                summary = event.finished.summary
        if request.options.num_beams == 1 and joined != summary.sequences[0].text:
            raise AssertionError(f"deltas {joined!r}, text {summary.sequences[0].text!r}")
    return [sequence.text for sequence in summary.sequences]


class LoadTest(unittest.TestCase):
    def start(self, *flags):
        server = Server(*flags)
        self.addCleanup(server.stop)
        return server

    def test_every_answer_under_load_is_the_answer_alone(self):
        server = self.start("--max-batch", "96", "--max-queue", "256")
        requests = [api.SummarizeRequest(text=text, options=options(i))
                    for i, text in enumerate(documents(150))]
        alone = [answer_of(server.stub, request, "unary") for request in requests]
        self.assertGreater(len({texts[0] for texts in alone}), len(alone) // 2)
        before = server.metrics()
        wrong, cancelled = [], []

        def client(number):
            rng = random.Random(number)
            channel = grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)])
            stub = harness.api_grpc.SummarizationServiceStub(channel)
            for _ in range(REQUESTS_EACH):
                i = rng.randrange(len(requests))
                time.sleep(rng.random() * 0.02)
                if rng.random() < 0.1:  # leaves in the middle
                    stream = stub.StreamSummarize(api.StreamSummarizeRequest(
                        text=requests[i].text, options=requests[i].options))
                    for _ in range(rng.randrange(1, 8)):
                        next(stream, None)
                    stream.cancel()
                    cancelled.append(i)
                    continue
                got = answer_of(stub, requests[i], rng.choice(["unary", "stream"]))
                if got != alone[i]:
                    wrong.append((i, alone[i], got))
            channel.close()

        threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertGreater(len(cancelled), 10)
        after = server.metrics()
        rows = after["precis_decode_rows_total"] - before["precis_decode_rows_total"]
        steps = after["precis_decode_steps_total"] - before["precis_decode_steps_total"]
        print(f"mean decode batch {rows / steps:.1f} over {steps:.0f} steps")
        self.assertGreaterEqual(rows / steps, 16)
        server.wait_idle(self)

    def wait_for(self, server, metric, value):
        end = time.monotonic() + 60
        while server.metrics()[metric] != value:
            self.assertLess(time.monotonic(), end, f"{metric} never was {value}")
            time.sleep(0.01)

    def test_peak_pages_are_what_tokens_slots_and_kv_heads_say(self):
        # One summary is promised the whole pool, so that all others wait, however slowly they come.
        # When it is cancelled they are encoded before anything else, and hold their last pages at the
        # same time.
        server = self.start("--kv-dtype", "f32", "--max-batch", "64", "--stream-outstanding", "64",
                            "--encode-budget", "1000", "--cross-cache", "off",
                            "--max-new-tokens", "32768")
        free = int(server.metrics()['precis_pool_pages{kind="free"}'])
        # A token of TEXT has a character at least; what that leaves over is too little for any other.
        long_tokens = (free - pages_of(len(TEXT), 0)) * PAGE_SLOTS
        blocker = server.stub.StreamSummarize(api.StreamSummarizeRequest(
            text=TEXT, options=api.GenerationOptions(
                num_beams=1, max_new_tokens=long_tokens, min_new_tokens=long_tokens)))
        next(blocker)
        choice = api.GenerationOptions(num_beams=1, max_new_tokens=NEW_TOKENS,
                                       min_new_tokens=NEW_TOKENS)
        replies = server.stub.SummarizeMany(iter([
            api.SummarizeManyRequest(id=str(i), text=text[:60 + 5 * i], options=choice)
            for i, text in enumerate(documents(CLIENTS))]))
        self.wait_for(server, "precis_waiting_sequences", CLIENTS)
        blocker.cancel()
        pages = 0
        for reply in replies:
            self.assertEqual(reply.WhichOneof("result"), "summary", reply)
            pages += pages_of(reply.summary.source_tokens, NEW_TOKENS)
        with open("models/demo/config.json", encoding="utf-8") as file:
            config = json.load(file)
        token_bytes = (config["num_decoder_layers"] * 2 * config["num_key_value_heads"]
                       * config["d_kv"] * 4)
        values = server.metrics()
        self.assertEqual(values["precis_pool_page_bytes"], PAGE_SLOTS * token_bytes)
        self.assertEqual(values["precis_pool_peak_pages"], pages)
        server.wait_idle(self)


if __name__ == "__main__":
    harness.main()
