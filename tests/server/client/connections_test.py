"""Connections of strangers: more than there may be, packed messages that burst, headers without end; and
where the server may listen, what it says when it may not, and how soon it ends.
"""

import os
import re
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import grpc

import harness
from harness import ARGS, TEXT, Server, api, api_grpc

Code = grpc.StatusCode
SHORT = api.GenerationOptions(num_beams=1, max_new_tokens=4)
# A client's first words: the preface, and a frame of empty SETTINGS.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def frame(kind, payload):
    """Of stream 1, without flags."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + struct.pack(">I", 1) + payload


def memory_mb(server, key):
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
        return int(re.search(key + r":\s+(\d+)", file.read())[1]) // 1024


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))


def has_ipv6():
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


class ConnectionsTest(unittest.TestCase):
    def start(self, *flags, **more):
        server = Server(*flags, **more)
        self.addCleanup(server.stop)
        return server

    def stub(self, address):
        channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1),
                                                  ("grpc.max_send_message_length", -1)])
        self.addCleanup(channel.close)
        return api_grpc.SummarizationServiceStub(channel)

    def served(self, stub):
        try:
            return bool(stub.Summarize(api.SummarizeRequest(text=TEXT, options=SHORT),
                                       timeout=60).summary.sequences)
        except grpc.RpcError as error:
            self.assertEqual(error.code(), Code.UNAVAILABLE)
            return False

    def eventually(self, question, what):
        end = time.monotonic() + 60
        while not question():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.1)

    def connect(self, server, how_many):
        port = int(server.address.rsplit(":", 1)[1])
        out = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(how_many)]
        for connection in out:
            self.addCleanup(connection.close)
        return out

    @staticmethod
    def is_closed(connection):
        """Whether the server has ended it; one that lives is greeted with SETTINGS."""
        try:
            return not connection.recv(9)
        except ConnectionError:
            return True

    # How many.

    def test_a_flood_beyond_the_descriptors_leaves_a_server_that_serves(self):
        server = self.start("--health-listen", "127.0.0.1:0", preexec_fn=few_descriptors)
        self.assertTrue(self.served(server.stub))
        flood = self.connect(server, 170)
        refused = 'precis_refused_connections_total{reason="address_full"}'
        self.eventually(lambda: server.metrics()[refused] > 100, "they are refused")
        self.assertTrue(self.served(server.stub), "a connection from before")
        for connection in flood:
            connection.close()
        self.eventually(lambda: self.served(self.stub(server.address)), "a new connection")
        values = server.metrics()
        self.assertEqual((values["precis_healthy"], values["precis_port_answers"]), (1, 1))
        self.assertIn("connections were closed at once", server.read_log())
        self.assertIn("instead of --max-connections 1024", server.read_log())

    def test_one_address_gets_its_share_and_others_theirs(self):
        server = self.start("--max-connections", "8", "--max-connections-per-address", "4")
        first = self.connect(server, 4)
        for connection in first:
            self.assertFalse(self.is_closed(connection))
        self.assertTrue(self.is_closed(self.connect(server, 1)[0]))
        other = socket.create_connection(("127.0.0.1", int(server.address.rsplit(":", 1)[1])),
                                         timeout=30, source_address=("127.0.0.2", 0))
        self.addCleanup(other.close)
        self.assertFalse(self.is_closed(other))
        first[0].close()
        self.eventually(lambda: self.served(self.stub(server.address)), "its place is free")

    # What they cost.

    def test_a_packed_message_is_taken_and_one_that_bursts_costs_its_limit(self):
        server = self.start()
        stub = self.stub(server.address)
        text = TEXT * 50  # so that packing pays
        request = api.SummarizeRequest(text=text, options=SHORT)
        plain = stub.Summarize(request, timeout=60)
        packed = stub.Summarize(request, timeout=60, compression=grpc.Compression.Gzip)
        self.assertEqual(plain.summary.sequences, packed.summary.sequences)
        many = stub.SummarizeMany(iter([api.SummarizeManyRequest(id="a", text=text, options=SHORT)]),
                                  compression=grpc.Compression.Gzip)
        self.assertEqual([r.summary.sequences[0].text for r in many],
                         [plain.summary.sequences[0].text])
        before = memory_mb(server, "VmRSS")
        bomb = api.SummarizeRequest(text="a" * (200 << 20))
        with self.assertRaises(grpc.RpcError) as caught:
            stub.Summarize(bomb, timeout=120, compression=grpc.Compression.Gzip)
        self.assertEqual(caught.exception.code(), Code.RESOURCE_EXHAUSTED)
        self.assertIn("unpacks to more than", caught.exception.details())
        with self.assertRaises(grpc.RpcError) as caught:
            stub.Summarize(bomb, timeout=120, compression=grpc.Compression.Deflate)
        self.assertEqual(caught.exception.code(), Code.UNIMPLEMENTED)
        self.assertLess(memory_mb(server, "VmHWM") - before, 64)
        self.assertTrue(self.served(stub))

    def test_headers_without_end_cost_no_more_than_a_bound(self):
        server = self.start()
        (connection,) = self.connect(server, 1)
        before = memory_mb(server, "VmRSS")
        connection.sendall(HELLO + frame(1, b"\x82" * 10))
        headers = frame(9, b"\x00\x01a\x04bbbb" * 1000) * 10  # CONTINUATION: 1,000 headers of 8 bytes
        sent = 0
        with self.assertRaises(OSError):  # cut, long before the end
            while sent < 400e6:
                connection.sendall(headers)
                sent += len(headers)
        self.assertLess(sent, 60e6)
        # 9 bytes for each that came; ungenerous only to what a slow machine notices late.
        self.assertLess(memory_mb(server, "VmHWM") - before, 300)
        flood = 'precis_refused_connections_total{reason="flood"}'
        self.eventually(lambda: server.metrics()[flood] == 1, "it is counted")
        self.assertTrue(self.served(server.stub))

    def test_long_documents_side_by_side_are_no_flood(self):
        server = self.start()
        stub = self.stub(server.address)
        request = api.SummarizeRequest(text="a" * (3 << 20), options=SHORT)  # refused when it is there
        calls = [stub.Summarize.future(request, timeout=120) for _ in range(4)]
        for call in calls:
            self.assertEqual(call.exception().code(), Code.INVALID_ARGUMENT)
        self.assertEqual(server.metrics()['precis_refused_connections_total{reason="flood"}'], 0)

    def test_who_never_speaks_is_cut_and_others_do_not_wait(self):
        server = self.start()
        silent = self.connect(server, 50)
        self.assertTrue(self.served(server.stub))
        for connection in silent[:5]:
            connection.settimeout(60)
            self.assertEqual(len(connection.recv(9)), 9, "the server speaks first")
            while connection.recv(4096):  # to the end, which the server makes
                pass
        self.assertTrue(self.served(server.stub))

    # Where.

    def refusal(self, **addresses):
        """What a server says that does not start with this address; the others are good."""
        flags = {"listen": "127.0.0.1:0", "metrics-listen": "", **addresses}
        done = subprocess.run(
            [ARGS.server, "--model", "models/demo", "--device", ARGS.backend, "--pool-bytes", "64M",
             *(word for key, value in flags.items() for word in ("--" + key, value))],
            stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr.splitlines()[-1]

    def test_what_is_in_the_way_of_an_address_is_said_as_it_is(self):
        folder = tempfile.mkdtemp(prefix="precis_where_")
        self.addCleanup(os.rmdir, folder)
        for option in ("listen", "health-listen"):
            missing = f"unix:{folder}/missing/s"
            self.assertIn(f"--{option}: cannot listen on {missing}: there is no folder "
                          f"{folder}/missing", self.refusal(**{option: missing}))
            self.assertIn("this machine has no such address",
                          self.refusal(**{option: "192.0.2.1:0", "insecure": "on"}))
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                address = f"127.0.0.1:{taken.getsockname()[1]}"
                self.assertIn(f"--{option}: cannot listen on {address}: another process listens",
                              self.refusal(**{option: address}))
        self.assertIn("there is no folder", self.refusal(**{"admin-socket": f"{folder}/no/admin"}))

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6 loopback")
    def test_grpc_and_health_listen_on_ipv6(self):
        server = self.start("--listen", "[::1]:0", "--health-listen", "[::1]:0")
        address = "[::1]:" + server.address.rsplit(":", 1)[1]
        self.assertTrue(self.served(self.stub(address)))
        for flags in (["--listen", address], ["--health-listen", f"[::1]:{server.health_port}"]):
            done = subprocess.run([ARGS.server, "--probe", *flags], check=False, timeout=60,
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    # The end.

    def test_an_idle_server_ends_at_once(self):
        folder = tempfile.mkdtemp(prefix="precis_end_")
        self.addCleanup(os.rmdir, folder)
        both = ("--health-listen", "127.0.0.1:0", "--admin-socket", f"{folder}/admin")
        for flags, use in (((), lambda server: None), (both, lambda server: None),
                           (both, lambda server: self.served(self.stub(server.address))),
                           (both, lambda server: self.connect(server, 3))):
            took = []
            for _ in range(3):  # a busy machine may be late; a wait of ours is there each time
                server = self.start("--metrics-listen", "", *flags)
                use(server)
                begin = time.monotonic()
                self.assertEqual(server.stop(), 0)
                took.append(time.monotonic() - begin)
            self.assertLess(min(took), 1, (flags, took))

    def test_sighup_with_nothing_to_reload_says_so(self):
        server = self.start()
        server.process.send_signal(signal.SIGHUP)
        self.eventually(lambda: "reload: there is nothing to read again" in server.read_log(),
                        "a line in the log")
        self.assertTrue(self.served(server.stub))


if __name__ == "__main__":
    harness.main()
