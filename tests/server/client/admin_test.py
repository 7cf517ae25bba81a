"""The admin socket: who may open it, what is in its way, and what its calls do to the real server."""

import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import grpc

import harness
from harness import ARGS, LONG, TEXT, Server, api

from precis.admin.v1 import admin_pb2 as admin
from precis.admin.v1 import admin_pb2_grpc as admin_grpc


class AdminTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="precis_admin_")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "admin.sock")

    def start(self, *flags):
        server = Server("--admin-socket", self.path, *flags)
        self.addCleanup(server.stop)
        return server

    def stub(self):
        channel = grpc.insecure_channel("unix:" + self.path)
        self.addCleanup(channel.close)
        return admin_grpc.AdminServiceStub(channel)

    def refused_start(self):
        done = subprocess.run(
            [ARGS.server, "--model", "models/demo", "--device", ARGS.backend, "--pool-bytes",
             "64M", "--listen", "127.0.0.1:0", "--metrics-listen", "", "--admin-socket",
             self.path], stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr.splitlines()[-1]

    def test_the_socket_is_its_owners_alone_and_is_gone_afterwards(self):
        os.umask(0)  # the loosest that a server may be started with
        self.addCleanup(os.umask, 0o022)
        server = self.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertTrue(self.stub().GetStatus(admin.GetStatusRequest()).serving)
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_there_is_no_socket_and_no_admin_call_unless_it_is_asked_for(self):
        server = Server()
        self.addCleanup(server.stop)
        with self.assertRaises(grpc.RpcError) as caught:
            admin_grpc.AdminServiceStub(server.channel).GetStatus(admin.GetStatusRequest())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_the_network_has_no_admin_calls_and_the_socket_no_summaries(self):
        server = self.start()
        with self.assertRaises(grpc.RpcError) as caught:
            admin_grpc.AdminServiceStub(server.channel).Drain(admin.DrainRequest())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        with grpc.insecure_channel("unix:" + self.path) as channel:
            with self.assertRaises(grpc.RpcError) as caught:
                harness.api_grpc.SummarizationServiceStub(channel).Summarize(
                    api.SummarizeRequest(text=TEXT))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertFalse(self.stub().GetStatus(admin.GetStatusRequest()).draining)

    def test_a_stale_socket_is_replaced(self):
        with socket.socket(socket.AF_UNIX) as left_over:
            left_over.bind(self.path)
        self.start()
        self.assertTrue(self.stub().GetStatus(admin.GetStatusRequest()).serving)

    def test_a_live_socket_and_a_file_are_errors_and_stay(self):
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(self.path)
            live.listen()
            self.assertIn(f"--admin-socket: cannot listen on unix:{self.path}: a server answers "
                          "there", self.refused_start())
            self.assertTrue(os.path.exists(self.path))
        os.unlink(self.path)
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("precious")
        self.assertIn(f"unix:{self.path}: a file is there that is no socket", self.refused_start())
        with open(self.path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious")

    def test_status_counts_and_drain_refuses_but_finishes(self):
        tokens = os.path.join(self.folder, "tokens")
        with open(tokens, "w", encoding="utf-8") as file:
            file.write(f"team-a {hashlib.sha256(b'alpha').hexdigest()}\n")
        os.chmod(tokens, 0o600)
        server, stub = self.start("--insecure", "--auth-tokens", tokens), self.stub()
        metadata = [("authorization", "Bearer alpha")]
        stream = server.stub.StreamSummarize(
            api.StreamSummarizeRequest(text=TEXT, options=api.GenerationOptions(
                num_beams=1, max_new_tokens=LONG, min_new_tokens=LONG)), metadata=metadata)
        next(stream)
        status = stub.GetStatus(admin.GetStatusRequest())
        self.assertEqual((status.requests, status.serving, status.draining), (1, True, False))
        self.assertGreaterEqual(status.tokens, LONG)
        self.assertEqual([(c.name, c.requests) for c in status.clients], [("token:team-a", 1)])
        self.assertEqual(stub.Drain(admin.DrainRequest()).requests, 1)
        status = stub.GetStatus(admin.GetStatusRequest())
        self.assertEqual((status.serving, status.draining), (False, True))
        with self.assertRaises(grpc.RpcError) as caught:
            server.stub.Summarize(api.SummarizeRequest(text=TEXT), metadata=metadata)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual([e.WhichOneof("event") for e in stream][-1], "finished")
        self.assertIsNone(server.process.poll(), "the process stays")
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(timeout=60), 0)

    def test_reload_says_what_is_wrong_and_levels_change(self):
        tokens = os.path.join(self.folder, "tokens")
        with open(tokens, "w", encoding="utf-8") as file:
            file.write(f"team-a {hashlib.sha256(b'alpha').hexdigest()}\n")
        os.chmod(tokens, 0o600)
        server, stub = self.start("--insecure", "--auth-tokens", tokens), self.stub()
        stub.Reload(admin.ReloadRequest())
        with open(tokens, "a", encoding="utf-8") as file:
            file.write("nonsense\n")
        with self.assertRaises(grpc.RpcError) as caught:
            stub.Reload(admin.ReloadRequest())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        self.assertIn("tokens:2: the second word", caught.exception.details())
        self.assertEqual(stub.SetLogLevel(admin.SetLogLevelRequest(level="error")).previous, "info")
        before = server.read_log()
        server.stub.Summarize(api.SummarizeRequest(text=TEXT, options=api.GenerationOptions(
            num_beams=1, max_new_tokens=4)), metadata=[("authorization", "Bearer alpha")])
        time.sleep(0.2)
        self.assertNotIn("request id=", server.read_log()[len(before):])
        self.assertEqual(stub.GetStatus(admin.GetStatusRequest()).log_level, "error")
        self.assertEqual(stub.SetLogLevel(admin.SetLogLevelRequest(level="warn")).previous, "error")
        with self.assertRaises(grpc.RpcError) as caught:
            stub.SetLogLevel(admin.SetLogLevelRequest(level="loud"))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(stub.GetStatus(admin.GetStatusRequest()).log_level, "warn")


if __name__ == "__main__":
    harness.main()
