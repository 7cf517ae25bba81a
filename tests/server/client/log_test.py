"""The log of a real server: when nothing reads it, as JSON, and what stays out of it."""

import fcntl
import json
import os
import re
import select
import subprocess
import time
import unittest

import grpc

import harness
from harness import ARGS, TEXT, Server, api

SHORT = api.GenerationOptions(num_beams=1, max_new_tokens=2)
PROBES = "/inference.GRPCInferenceService/"


class FullPipe:
    """A pipe for a log that holds next to nothing, and that nothing reads until read() does."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)

    def fill(self):
        os.set_blocking(self.writer, False)
        try:
            while True:
                os.write(self.writer, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)

    def read_until(self, text, seconds=30):
        got, end = b"", time.monotonic() + seconds
        while text not in got and select.select([self.reader], [], [], end - time.monotonic())[0]:
            got += os.read(self.reader, 65536)
        return got.decode()

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


class LogTest(unittest.TestCase):
    def start(self, *flags, **more):
        server = Server(*flags, **more)
        self.addCleanup(server.stop)
        return server

    def pipe(self):
        pipe = FullPipe()
        self.addCleanup(pipe.close)
        return pipe

    def summarize(self, server, **more):
        return server.stub.Summarize(api.SummarizeRequest(text=TEXT, options=SHORT), timeout=60, **more)

    def test_a_log_that_nothing_reads_stops_neither_calls_nor_the_end(self):
        pipe = self.pipe()
        server = self.start("--log-level", "trace", log=pipe.writer)
        for _ in range(100):
            self.summarize(server)
        begin = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - begin, 15, "a slow machine; the log alone takes half a second")

    def test_lines_that_find_no_room_are_counted_and_the_log_goes_on(self):
        pipe = self.pipe()
        server = self.start(log=pipe.writer)
        # Of an error, the client's id is logged; it fills what waits in memory sooner.
        name = "precis_log_dropped_lines_total"
        end = time.monotonic() + 120
        while server.metrics()[name] == 0 and time.monotonic() < end:
            for _ in range(200):
                with self.assertRaises(grpc.RpcError):
                    server.stub.Summarize(api.SummarizeRequest(text=TEXT, model="m" * 500), timeout=60)
        dropped = server.metrics()[name]
        self.assertGreater(dropped, 0)
        text = pipe.read_until(b"lines were dropped so far")
        self.assertIn(f"log: {dropped:.0f} lines were dropped so far: nothing read them", text)
        self.summarize(server, metadata=[("x-request-id", "after-it")])
        self.assertIn("request id=after-it method=Summarize outcome=ok", pipe.read_until(b"id=after-it"))
        self.assertEqual(server.metrics()[name], dropped)

    def test_check_and_its_errors_do_not_wait_for_a_reader(self):
        for model, code in (("models/demo", 0), ("docs", 1)):
            pipe = self.pipe()
            pipe.fill()
            done = subprocess.run([ARGS.server, "--check", "--device", ARGS.backend, "--pool-bytes", "64M",
                                   "--model", model], stderr=pipe.writer, stdout=subprocess.DEVNULL,
                                  timeout=120, check=False)
            self.assertEqual(done.returncode, code)

    def test_a_pipe_that_is_read_has_the_error_whole_and_stays_as_it_was(self):
        pipe = self.pipe()
        subprocess.run([ARGS.server, "--model", "docs"], stderr=pipe.writer, timeout=120, check=False)
        self.assertIn("precis-server: ", pipe.read_until(b"\n"))
        self.assertTrue(os.get_blocking(pipe.writer), "others may share it")

    def test_closed_standard_descriptors_become_dev_null(self):
        def close_them():
            for number in (0, 1, 2):
                os.close(number)

        server = self.start(preexec_fn=close_them)
        self.summarize(server)
        for number in (0, 1, 2):
            self.assertEqual(os.readlink(f"/proc/{server.process.pid}/fd/{number}"), "/dev/null")
        self.assertEqual(server.stop(), 0)

    def documented_fields(self):
        with open("docs/server.md", encoding="utf-8") as file:
            text = file.read()
        section = text[text.index("\n## The log"):]
        section = section[:section.index("\n## ", 1)]
        return {name: kind for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.M)}

    def test_fields_of_a_request_are_keys_of_the_json_line_as_documented(self):
        server = self.start("--log-json")
        self.summarize(server, metadata=[
            ("x-request-id", "mine"), ("traceparent", f"00-{'4b' * 16}-{'00f067aa0ba902b7'}-01")])
        with self.assertRaises(grpc.RpcError):
            server.stub.Summarize(api.SummarizeRequest(text=TEXT, model="another"))
        server.wait_idle(self)
        lines = [json.loads(line) for line in server.read_log().splitlines()]
        ok, failed = [line for line in lines if line["message"] == "request"]
        self.assertEqual((ok["id"], ok["method"], ok["outcome"]), ("mine", "Summarize", "ok"))
        self.assertEqual((ok["trace_id"], ok["parent_span_id"]), ("4b" * 16, "00f067aa0ba902b7"))
        self.assertGreater(ok["source_tokens"], 0)
        self.assertLessEqual(ok["generated_tokens"], 2)
        self.assertGreaterEqual(ok["total_ms"], ok["queue_ms"])
        self.assertEqual(failed["outcome"], "not_found")
        self.assertTrue(failed["error"])
        documented = self.documented_fields()
        types = {"text": str, "number": (int, float)}
        for line in (ok, failed):
            for key, value in line.items():
                self.assertIn(key, documented)
                self.assertIsInstance(value, types[documented[key]], key)
        # `client` is of servers with tokens or certificates: tests beside this one see it.
        self.assertEqual(set(documented) - set(ok) - set(failed), {"client"})

    def test_probes_are_logged_at_debug_and_failed_ones_at_info(self):
        server = self.start()
        for name in ("ServerLive", "ServerReady", "ModelReady"):
            server.channel.unary_unary(PROBES + name)(b"", timeout=60)
        self.assertNotIn("request id=", server.read_log())
        with self.assertRaises(grpc.RpcError):
            server.channel.unary_unary(PROBES + "ServerReady")(b"\xff", timeout=60)
        self.assertIn("outcome=invalid_argument", server.read_log())
        server.channel.unary_unary(PROBES + "ServerMetadata")(b"", timeout=60)
        self.assertIn("method=OpenInferenceInfo outcome=ok", server.read_log())
        verbose = self.start("--log-level", "debug")
        verbose.channel.unary_unary(PROBES + "ServerLive")(b"", timeout=60)
        self.assertIn("method=OpenInferenceInfo outcome=ok", verbose.read_log())


if __name__ == "__main__":
    harness.main()
