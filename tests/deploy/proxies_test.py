"""deploy/haproxy and deploy/nginx as they stand, but for their ports, before two real servers."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join("tests", "server", "client"))
import grpc  # noqa: E402
import harness  # noqa: E402
from harness import LONG, TEXT, Server, api, api_grpc, free_port  # noqa: E402

Code = grpc.StatusCode
TOOLS = "build/tools/usr/sbin"
REQUESTS = 'precis_requests_total'


def tool(name):
    return shutil.which(name) or shutil.which(name, path=TOOLS)


def eventually(done, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.05)
    return False


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def held(server):
    return server.metrics()["precis_admitted_requests"]


def answered(server):
    return sum(value for name, value in server.metrics().items() if name.startswith(REQUESTS))


class Proxied:
    def setUp(self):
        if not tool(self.program):
            self.skipTest(f"missing: {self.program} (scripts/setup --with=deploy)")
        self.folder = tempfile.mkdtemp(prefix="precis_proxy_")
        self.addCleanup(shutil.rmtree, self.folder)
        self.servers = [Server("--threads", "1", "--drain-timeout", "120s") for _ in range(2)]
        for server in self.servers:
            self.addCleanup(server.stop)
        self.port = free_port()
        text = pathlib.Path(self.example).read_text(encoding="utf-8")
        for port, server in zip((50051, 50052), self.servers):
            self.assertIn(f"127.0.0.1:{port}", text)
            text = text.replace(f"127.0.0.1:{port}", server.address)
        self.assertIn("127.0.0.1:50050", text)
        text = text.replace("127.0.0.1:50050", f"127.0.0.1:{self.port}")
        self.config = os.path.join(self.folder, "config")
        pathlib.Path(self.config).write_text(text, encoding="utf-8")
        self.log = open(os.path.join(self.folder, "log"), "w", encoding="utf-8")
        self.addCleanup(self.log.close)
        self.proxy = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log)
        self.addCleanup(self.proxy.wait)
        self.addCleanup(self.proxy.terminate)
        # A first attempt that finds nobody costs seconds of gRPC's back-off.
        self.assertTrue(eventually(lambda: listens(self.port)), self.read_log())
        channel = grpc.insecure_channel(
            f"127.0.0.1:{self.port}",
            [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1),
             ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)])
        self.addCleanup(channel.close)
        self.stub = api_grpc.SummarizationServiceStub(channel)
        self.assertTrue(eventually(lambda: self.call() is None), self.read_log())

    def read_log(self):
        return pathlib.Path(self.folder, "log").read_text(encoding="utf-8")

    def call(self):
        """None, or the error."""
        options = api.GenerationOptions(num_beams=1, max_new_tokens=2)
        try:
            self.stub.Summarize(api.SummarizeRequest(text=TEXT, options=options), timeout=120)
        except grpc.RpcError as error:
            return error
        return None

    def stream(self):
        return self.stub.StreamSummarize(api.StreamSummarizeRequest(
            text=TEXT, options=api.GenerationOptions(num_beams=1, max_new_tokens=LONG,
                                                     min_new_tokens=LONG)), timeout=300)

    def open_streams_on_both(self):
        """Four streams, begun; all ran still when each server was seen to hold one at least."""
        end = time.monotonic() + 240
        while time.monotonic() < end:
            streams = []
            for _ in range(4):
                streams.append(self.stream())
                self.assertEqual(next(streams[-1]).WhichOneof("event"), "accepted")
                # Servers by turns, not by what they hold, would get all streams or all of these.
                self.assertIsNone(self.call())
            holds = [held(server) for server in self.servers]
            if sum(holds) == len(streams):
                self.assertGreaterEqual(min(holds), 1, holds)
                return streams
            self.finish(streams)  # one had ended before we looked
        self.fail("no four streams ran at once")

    def finish(self, streams):
        for stream in streams:
            last = None
            for last in stream:
                pass
            self.assertEqual(last.WhichOneof("event"), "finished")

    def test_both_serve_unary_and_streams(self):
        for _ in range(20):
            self.assertIsNone(self.call())
        self.finish(self.open_streams_on_both())
        for server in self.servers:
            self.assertGreater(answered(server), 0)

    def test_bulk_streams_pass(self):
        options = api.GenerationOptions(num_beams=1, max_new_tokens=2)
        replies = self.stub.SummarizeMany(iter(
            [api.SummarizeManyRequest(id=str(i), text=TEXT, options=options) for i in range(8)]))
        self.assertEqual(sorted(reply.id for reply in replies), [str(i) for i in range(8)])

    def test_a_server_that_drains_loses_nothing_that_it_accepted(self):
        streams = self.open_streams_on_both()
        gone, stays = self.servers
        gone.process.terminate()
        refused = []
        for _ in range(20):
            error = self.call()
            if error is not None:
                refused.append(error.code())
        # Refused before it was begun, by the server or for want of one: to be sent again.
        self.assertEqual(set(refused) - {Code.UNAVAILABLE}, set())
        self.finish(streams)
        self.assertEqual(gone.process.wait(timeout=180), 0)
        before = answered(stays)
        self.assertTrue(eventually(lambda: self.call() is None))
        for _ in range(20):
            self.assertIsNone(self.call())
        self.assertGreaterEqual(answered(stays), before + 20)
        print(f"{self.program}: {len(refused)} of 20 refused UNAVAILABLE while one drained")

    def test_without_servers_it_says_unavailable(self):
        for server in self.servers:
            server.process.terminate()
            self.assertEqual(server.process.wait(timeout=120), 0)
        for _ in range(3):
            self.assertEqual(self.call().code(), Code.UNAVAILABLE)


class HaproxyTest(Proxied, unittest.TestCase):
    program, example = "haproxy", "deploy/haproxy/haproxy.cfg"

    def command(self):
        return [tool(self.program), "-db", "-f", self.config]


class NginxTest(Proxied, unittest.TestCase):
    program, example = "nginx", "deploy/nginx/nginx.conf"

    def command(self):
        return [tool(self.program), "-p", self.folder, "-c", self.config, "-g", "daemon off;"]


if __name__ == "__main__":
    if not tool("haproxy") and not tool("nginx"):
        print("missing: haproxy, nginx (scripts/setup --with=deploy)")
        sys.exit(77)
    harness.main()
