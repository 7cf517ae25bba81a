"""The real server and a real client: what an operator fears, seen from outside.

Starts precis-server on models/demo on free ports and talks to it with Debian's python3-grpcio; after
each fear the metrics must show that every page of the pool has come back.
"""

import json
import shutil
import signal
import subprocess
import time
import unittest

import grpc

import harness
from harness import ARGS, LONG, TEXT, Server, api, details_pb2, status_pb2

def long_request(kind):
    # Not the checkpoint's beams: a beam search has no deltas.
    options = api.GenerationOptions(num_beams=1, max_new_tokens=LONG, min_new_tokens=LONG)
    return kind(text=TEXT, options=options)


def read_until_delta(stream):
    for event in stream:
        if event.WhichOneof("event") == "delta":
            return
    raise AssertionError("no delta came")


def details(error, message):
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            for item in status.details:
                if item.Unpack(message):
                    return message
    return None


class ClientTest(unittest.TestCase):
    def start(self, *flags):
        server = Server(*flags)
        self.addCleanup(server.stop)
        return server

    def test_summary_and_stream_say_the_same(self):
        server = self.start()
        self.assertEqual(server.leased_pages(), 0)
        options = api.GenerationOptions(num_beams=1)
        whole = server.stub.Summarize(api.SummarizeRequest(text=TEXT, options=options)).summary
        text, finished = "", []
        for event in server.stub.StreamSummarize(
                api.StreamSummarizeRequest(text=TEXT, options=options)):
            text += event.delta.text
            if event.WhichOneof("event") == "finished":
                finished.append(event.finished.summary)
        self.assertTrue(text)
        self.assertEqual(text, whole.sequences[0].text)
        self.assertEqual(len(finished), 1)
        self.assertEqual(finished[0].sequences[0].text, text)
        self.assertEqual(len(whole.model_fingerprint), 16)
        server.wait_idle(self)
        self.assertEqual(
            server.metrics()['precis_requests_total{method="Summarize",outcome="ok"}'], 1)

    def test_beams_stream_no_deltas_and_finish_with_the_unary_text(self):
        server = self.start()
        options = api.GenerationOptions(num_beams=4, num_return_sequences=2)
        whole = server.stub.Summarize(api.SummarizeRequest(text=TEXT, options=options)).summary
        events = list(server.stub.StreamSummarize(
            api.StreamSummarizeRequest(text=TEXT, options=options)))
        kinds = [event.WhichOneof("event") for event in events]
        self.assertEqual(kinds[0], "accepted")
        self.assertEqual(kinds.count("delta"), 0)
        self.assertEqual(kinds.count("finished"), 1)
        last = events[-1].finished.summary
        self.assertEqual([s.text for s in last.sequences], [s.text for s in whole.sequences])
        self.assertEqual(len(whole.sequences), 2)
        self.assertGreaterEqual(whole.sequences[0].score, whole.sequences[1].score)
        server.wait_idle(self)

    def test_promtool_is_content(self):
        server = self.start()
        server.stub.Summarize(api.SummarizeRequest(text=TEXT))
        promtool = shutil.which("promtool")
        if promtool is None:
            self.skipTest("promtool (Debian's package prometheus) is not installed")
        done = subprocess.run([promtool, "check", "metrics"], input=server.raw_metrics(), text=True,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout + done.stderr, "")

    def test_documented_metrics_are_those_of_a_scrape(self):
        server = self.start()
        scraped = {line.split(" ")[2] for line in server.raw_metrics().splitlines()
                   if line.startswith("# TYPE ")}
        with open("docs/metrics.md", encoding="utf-8") as file:
            documented = {line.split("`")[1].split("{")[0] for line in file
                          if line.startswith(("| `precis_", "| `process_"))}
        self.assertEqual(documented, scraped)

    def test_sigterm_in_mid_stream_finishes_the_stream_and_refuses_others(self):
        server = self.start("--drain-timeout", "300s")  # long enough on any machine
        stream = server.stub.StreamSummarize(long_request(api.StreamSummarizeRequest))
        read_until_delta(stream)
        self.assertGreater(server.leased_pages(), 0)
        server.process.send_signal(signal.SIGTERM)
        refused = None
        end = time.monotonic() + 10
        while refused is None and time.monotonic() < end:
            try:
                server.stub.Summarize(api.SummarizeRequest(text=TEXT))
            except grpc.RpcError as error:
                refused = error
        self.assertIsNotNone(refused)
        self.assertEqual(refused.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(details(refused, details_pb2.ErrorInfo()).reason, "DRAINING")
        events = [event.WhichOneof("event") for event in stream]
        self.assertEqual(events[-1], "finished")
        self.assertEqual(events.count("finished"), 1)
        self.assertEqual(server.process.wait(timeout=60), 0)

    def test_second_sigterm_ends_at_once_with_unavailable(self):
        server = self.start()
        # Several, so that the last of them takes long on any machine.
        streams = [server.stub.StreamSummarize(long_request(api.StreamSummarizeRequest))
                   for _ in range(8)]
        for stream in streams:
            read_until_delta(stream)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        for stream in streams:
            with self.assertRaises(grpc.RpcError) as caught:
                for _ in stream:
                    pass
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(server.process.wait(timeout=20), 1)

    def test_cancelled_stream_gives_its_pages_back(self):
        server = self.start()
        stream = server.stub.StreamSummarize(long_request(api.StreamSummarizeRequest))
        read_until_delta(stream)
        self.assertGreater(server.leased_pages(), 0)
        stream.cancel()
        server.wait_idle(self)
        name = 'precis_requests_total{method="StreamSummarize",outcome="cancelled"}'
        self.assertEqual(server.metrics()[name], 1)

    def test_passed_deadline_gives_its_pages_back(self):
        server = self.start()
        with self.assertRaises(grpc.RpcError) as caught:
            server.stub.Summarize(long_request(api.SummarizeRequest), timeout=0.1)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        server.wait_idle(self)
        name = 'precis_requests_total{method="Summarize",outcome="deadline_exceeded"}'
        self.assertEqual(server.metrics()[name], 1)

    def test_full_queue_is_refused_and_the_one_inside_goes_on(self):
        server = self.start("--max-queue", "1")
        stream = server.stub.StreamSummarize(long_request(api.StreamSummarizeRequest))
        read_until_delta(stream)
        with self.assertRaises(grpc.RpcError) as caught:
            server.stub.Summarize(api.SummarizeRequest(text=TEXT))
        error = caught.exception
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(details(error, details_pb2.ErrorInfo()).reason, "QUEUE_FULL")
        self.assertIn("grpc-retry-pushback-ms", dict(error.trailing_metadata()))
        self.assertEqual([e.WhichOneof("event") for e in stream][-1], "finished")
        server.wait_idle(self)
        name = 'precis_requests_total{method="Summarize",outcome="queue_full"}'
        self.assertEqual(server.metrics()[name], 1)

    def test_taken_ports_are_errors_that_name_the_address(self):
        first = self.start()
        for flags in (["--listen", first.address, "--metrics-listen", ""],
                      ["--listen", "127.0.0.1:0", "--metrics-listen", first.metrics_address]):
            second = Server(*flags, ports=False)
            self.assertEqual(second.process.wait(timeout=120), 1)
            self.assertIn(flags[1] if flags[3] == "" else flags[3], second.read_log())
            second.stop()
        first.stub.Summarize(api.SummarizeRequest(text=TEXT))
        first.wait_idle(self)

    def test_bulk_with_a_small_queue_answers_every_document(self):
        server = self.start("--max-queue", "3", "--stream-outstanding", "2")
        texts = {f"d{i}": f"Document {i}. {TEXT}" for i in range(12)}
        requests = (api.SummarizeManyRequest(id=key, text=text) for key, text in texts.items())
        answers = {answer.id: answer.summary.sequences[0].text
                   for answer in server.stub.SummarizeMany(requests)}
        self.assertEqual(set(answers), set(texts))
        alone = server.stub.Summarize(api.SummarizeRequest(text=texts["d7"])).summary
        self.assertEqual(answers["d7"], alone.sequences[0].text)
        server.wait_idle(self)

    def test_broken_utf8_is_invalid_argument_naming_the_field(self):
        server = self.start()
        raw = server.channel.unary_unary("/precis.v1.SummarizationService/Summarize")
        with self.assertRaises(grpc.RpcError) as caught:
            raw(b"\x1a\x03a\xffb")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        bad = details(caught.exception, details_pb2.BadRequest())
        self.assertEqual(bad.field_violations[0].field, "text")

    def test_probe_and_check_tell_by_exit_code(self):
        server = self.start()
        probe = [ARGS.server, "--probe", "--listen", server.address]
        self.assertEqual(subprocess.run(probe, check=False).returncode, 0)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=60)
        self.assertEqual(
            subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode, 1)
        check = [ARGS.server, "--check", "--device", ARGS.backend, "--pool-bytes", "64M",
                 "--log-level", "off", "--model"]
        self.assertEqual(subprocess.run(check + ["models/demo"], check=False).returncode, 0)
        self.assertEqual(
            subprocess.run(check + ["docs"], check=False, stderr=subprocess.DEVNULL).returncode, 1)

    def test_trace_context_is_passed_on_and_logged(self):
        server = self.start("--log-json")
        trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
        spans = set()
        for parent, known in ((f"00-{trace}-{span}-01", True), (f"00-{trace}-{span}-01-x", False)):
            _, call = server.stub.Summarize.with_call(
                api.SummarizeRequest(text=TEXT), metadata=[("traceparent", parent)])
            version, got, ours, flags = dict(call.initial_metadata())["traceparent"].split("-")
            self.assertEqual((version, got == trace, flags == "01"), ("00", known, known))
            self.assertNotEqual(ours, span)
            spans.add((got, ours, span if known else None))
        server.wait_idle(self)
        logged = set()
        for line in server.read_log().splitlines():
            fields = json.loads(line)
            if "trace_id" in fields:
                logged.add((fields["trace_id"], fields["span_id"], fields.get("parent_span_id")))
        self.assertEqual(logged, spans)

    def test_no_text_of_a_document_is_logged(self):
        server = self.start("--log-level", "debug", "--log-json")
        secret = "Xylophone-Zanzibar-4711"
        server.stub.Summarize(api.SummarizeRequest(text=f"{secret} is here. {TEXT}"))
        with self.assertRaises(grpc.RpcError):
            server.stub.Summarize(api.SummarizeRequest(text=secret, model=secret))
        server.wait_idle(self)
        log = server.read_log()
        self.assertIn('"outcome":"ok"', log)
        self.assertIn('"outcome":"not_found"', log)
        self.assertNotIn(secret, log)


if __name__ == "__main__":
    harness.main()
