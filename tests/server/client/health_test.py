"""--health-listen seen from outside: while the model loads, when it serves, while it drains.

A health request and its answer are two bytes at most, so they stand here as bytes: stubs of
grpc.health.v1 would want the name of the Python package that speaks gRPC.
"""

import json
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import unittest

import grpc

import harness
from harness import ARGS, LONG, TEXT, Server, api, api_grpc, free_port

SERVING, NOT_SERVING = 1, 2
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
NAME = b"precis.v1.SummarizationService"


def about(service=b""):
    return b"\x0a" + bytes([len(service)]) + service if service else b""


def status_of(answer):
    assert answer[:1] == b"\x08" and len(answer) == 2, answer
    return answer[1]


def check(channel, service=b""):
    return status_of(channel.unary_unary(CHECK)(about(service), timeout=20))


def answers(address):
    host, port = address.rsplit(":", 1)
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def slow_checkpoint(folder, hole_bytes=2 << 30):
    """The demo model with a tensor that nobody uses and that takes seconds to hash; no disk."""
    shutil.copytree("models/demo", folder, dirs_exist_ok=True)
    path = pathlib.Path(folder, "model.safetensors")
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header, data = json.loads(whole[8:8 + length]), whole[8 + length:]
    header["zz_hole"] = {"dtype": "F32", "shape": [hole_bytes // 4],
                         "data_offsets": [len(data), len(data) + hole_bytes]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
        file.truncate(file.tell() + hole_bytes)


class HealthTest(unittest.TestCase):
    def start(self, *flags, **more):
        server = Server(*flags, **more)
        self.addCleanup(server.stop)
        return server

    def channel(self, address):
        # Quick to try again: the server is about to come.
        channel = grpc.insecure_channel(address, [("grpc.initial_reconnect_backoff_ms", 100),
                                                  ("grpc.min_reconnect_backoff_ms", 100),
                                                  ("grpc.max_reconnect_backoff_ms", 100),
                                                  ("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        return channel

    def probe(self, *flags):
        return subprocess.run([ARGS.server, "--probe", *flags], check=False, capture_output=True,
                              text=True)

    def test_says_not_serving_while_the_model_loads_and_the_main_port_is_closed(self):
        folder = tempfile.mkdtemp(prefix="precis_slow_")
        self.addCleanup(shutil.rmtree, folder)
        slow_checkpoint(folder)
        main, health = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.start("--listen", main, "--metrics-listen", "", "--health-listen", health,
                   ports=False, model=folder)
        channel = self.channel(health)
        told = channel.unary_stream(WATCH)(about(NAME), timeout=60, wait_for_ready=True)
        self.assertEqual(status_of(next(told)), NOT_SERVING)
        self.assertEqual(check(channel), NOT_SERVING)
        self.assertFalse(answers(main))
        probe = self.probe("--listen", main, "--health-listen", health)
        self.assertEqual((probe.returncode, "NOT_SERVING" in probe.stderr), (1, True), probe.stderr)
        self.assertEqual(status_of(next(told)), SERVING)
        self.assertTrue(answers(main))
        self.assertEqual(check(channel), SERVING)
        probe = self.probe("--listen", "127.0.0.1:1", "--health-listen", health)
        self.assertEqual((probe.returncode, probe.stderr), (0, ""))
        told.cancel()

    def test_a_signal_while_the_model_loads_ends_it_with_0(self):
        folder = tempfile.mkdtemp(prefix="precis_slow_")
        self.addCleanup(shutil.rmtree, folder)
        slow_checkpoint(folder)
        health = f"127.0.0.1:{free_port()}"
        server = self.start("--listen", "127.0.0.1:0", "--metrics-listen", "",
                            "--health-listen", health, ports=False, model=folder)
        told = self.channel(health).unary_stream(WATCH)(b"", timeout=60, wait_for_ready=True)
        self.assertEqual(status_of(next(told)), NOT_SERVING)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(timeout=60), 0)
        self.assertIn("ended by a signal while loading", server.read_log())

    def test_drains_like_the_main_port_and_is_closed_after_it(self):
        server = self.start("--health-listen", "127.0.0.1:0")
        health = f"127.0.0.1:{server.health_port}"
        told = self.channel(health).unary_stream(WATCH)(b"", timeout=120)
        self.assertEqual(status_of(next(told)), SERVING)
        options = api.GenerationOptions(num_beams=1, max_new_tokens=LONG, min_new_tokens=LONG)
        stream = server.stub.StreamSummarize(
            api.StreamSummarizeRequest(text=TEXT, options=options))
        next(stream)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(status_of(next(told)), NOT_SERVING)
        self.assertEqual(check(self.channel(health)), NOT_SERVING)
        self.assertEqual([event.WhichOneof("event") for event in stream][-1], "finished")
        self.assertEqual(server.process.wait(timeout=60), 0)
        self.assertFalse(answers(health))

    def test_knows_nothing_but_health(self):
        server = self.start("--health-listen", "127.0.0.1:0")
        channel = self.channel(f"127.0.0.1:{server.health_port}")
        self.assertEqual(check(channel), SERVING)
        self.assertEqual(check(channel, NAME), SERVING)
        with self.assertRaises(grpc.RpcError) as caught:
            check(channel, b"another")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        stub = api_grpc.SummarizationServiceStub(channel)
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        # The main port knows both.
        self.assertTrue(server.stub.ListModels(api.ListModelsRequest()))
        for call in (lambda: stub.Summarize(api.SummarizeRequest(text=TEXT), timeout=20),
                     lambda: stub.ListModels(api.ListModelsRequest(), timeout=20),
                     lambda: list(reflect(iter([b""]), timeout=20))):
            with self.assertRaises(grpc.RpcError) as caught:
                call()
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_a_taken_address_is_an_error_that_names_it(self):
        first = self.start("--health-listen", "127.0.0.1:0")
        taken = f"127.0.0.1:{first.health_port}"
        second = self.start("--listen", "127.0.0.1:0", "--metrics-listen", "",
                            "--health-listen", taken, ports=False)
        self.assertEqual(second.process.wait(timeout=120), 1)
        self.assertIn(f"--health-listen: cannot listen on {taken}", second.read_log())


if __name__ == "__main__":
    harness.main()
