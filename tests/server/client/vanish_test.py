"""A client that vanishes: its process is killed, with no word to the server, in every state that a
request can be in. Everything is given back, and who shared the batch, or the document, gets the text
that it gets alone.

The killed client is this file, run with --vanish ADDRESS CASE.
"""

import os
import subprocess
import sys
import time
import unittest

import harness
from harness import TEXT, Server, api, api_grpc, grpc

LONG = 500  # tokens: long enough to be seen in its state, by a client that starts meanwhile

DOCUMENT = " ".join(f"Part {i} of the manual explains how server {i % 7} stores its pages."
                    for i in range(150))


def slow(message, text=TEXT, **options):
    """A request that is under way for long."""
    options = {"max_new_tokens": LONG, "min_new_tokens": LONG, "num_beams": 1, **options}
    return message(text=text, options=api.GenerationOptions(**options))


def streams(request):
    def run(stub):
        for _ in stub.StreamSummarize(request):
            pass
    return run


def bulk(stub):
    def requests():
        for i in range(6):
            yield api.SummarizeManyRequest(
                id=str(i), text=f"{i} {TEXT}", options=slow(api.SummarizeRequest).options)
        time.sleep(600)  # the stream stays open
    for _ in stub.SummarizeMany(requests()):
        pass


STREAM = api.StreamSummarizeRequest
# What the client does, and the gauge that tells that it is in the state meant.
CASES = {
    "waiting": (streams(slow(STREAM, "Another one. " + TEXT)), "precis_waiting_sequences"),
    "encoding": (streams(slow(STREAM, DOCUMENT)), "precis_encoding_sequences"),
    "joined": (streams(slow(STREAM, DOCUMENT)), "precis_encoding_sequences"),
    "greedy": (streams(slow(STREAM)), "precis_decoding_sequences"),
    "drafting": (streams(slow(STREAM, drafting=api.DRAFTING_PROMPT_LOOKUP)),
                 "precis_decoding_sequences"),
    "samples": (streams(slow(STREAM, temperature=1, num_return_sequences=4)),
                "precis_decoding_sequences"),
    "beams": (streams(slow(STREAM, num_beams=8)), "precis_decoding_sequences"),
    "windows": (streams(slow(STREAM, DOCUMENT * 3,
                             long_document_policy=api.LONG_DOCUMENT_POLICY_WINDOWS)),
                "precis_decoding_sequences"),
    "bulk": (bulk, "precis_decoding_sequences"),
}
FLAGS = {
    "waiting": ["--max-batch", "1", "--max-sequences", "16"],
    # Slices of encoder work that take many steps.
    "encoding": ["--encode-budget", "0.01", "--encode-slice-rows", "64"],
    "joined": ["--encode-budget", "0.01", "--encode-slice-rows", "64"],
    "windows": ["--max-source-tokens", "1024"],
}


class VanishTest(unittest.TestCase):
    def setUp(self):
        self.clients = []
        self.server = self.neighbour = self.alone = self.beside = None

    def tearDown(self):
        for client in self.clients:
            client.kill()
            client.wait()

    def start_client(self, server, case):
        self.clients.append(subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--server", harness.ARGS.server,
             "--vanish", server.address, case]))
        return self.clients[-1]

    def wait_for(self, gauge, least):
        end = time.monotonic() + 60
        while self.server.metrics()[gauge] < least:
            self.assertLess(time.monotonic(), end, f"{gauge} did not come to {least}")
            if self.beside.done():
                self.check_neighbour()
                self.beside = self.server.stub.Summarize.future(self.neighbour)
            time.sleep(0.005)

    def check_neighbour(self):
        summary = self.beside.result(timeout=120).summary
        self.assertEqual(summary.sequences[0].text, self.alone)

    def vanish(self, case):
        self.server = server = Server(*FLAGS.get(case, []))
        self.addCleanup(server.stop)
        self.neighbour = slow(api.SummarizeRequest, "The neighbour. " + TEXT)
        self.alone = server.stub.Summarize(self.neighbour).summary.sequences[0].text
        self.beside = server.stub.Summarize.future(self.neighbour)
        self.wait_for("precis_decoding_sequences", 1)
        gauge = CASES[case][1]
        least = 2 if gauge == "precis_decoding_sequences" else 1
        first = self.start_client(server, case)
        self.wait_for(gauge, least)
        survivor = None
        if case == "joined":
            # It waits for the encode that the other one began.
            survivor = server.stub.Summarize.future(
                api.SummarizeRequest(text=DOCUMENT, options=api.GenerationOptions(
                    max_new_tokens=8, num_beams=1)))
            self.wait_for(gauge, 2)
        first.kill()
        first.wait()
        self.check_neighbour()
        if survivor is not None:
            summary = survivor.result(timeout=120).summary
            self.assertTrue(summary.cache_hit)
            self.assertEqual(server.metrics()['precis_document_uses_total{use="joined"}'], 1)
        server.wait_idle(self)
        again = server.stub.Summarize(self.neighbour).summary
        self.assertEqual(again.sequences[0].text, self.alone)
        server.wait_idle(self)


for name in CASES:
    setattr(VanishTest, f"test_while_{name}", lambda self, case=name: self.vanish(case))


def vanish_client(address, case):
    with grpc.insecure_channel(address) as channel:
        CASES[case][0](api_grpc.SummarizationServiceStub(channel))


if __name__ == "__main__":
    if "--vanish" in sys.argv:
        at = sys.argv.index("--vanish")
        try:
            vanish_client(*sys.argv[at + 1:at + 3])
        except grpc.RpcError:
            pass  # the server has ended first
    else:
        harness.main()
