#!/usr/bin/env python3
"""What encryption and tokens cost: the smallest request (one token of a short text), one after the other over one
connection to each of three servers in turns: plain, TLS, TLS and a token; and what a new connection costs.
Prints a markdown table over the calls of all rounds. Needs grpcio, protoc with grpc_python_plugin, and openssl.

    bench/security_overhead.py --model models/demo --rounds 10 --calls 300
"""
import argparse
import hashlib
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import grpc
from server_overhead import start

TEXT = "Precis serves summaries over gRPC."
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def generate_stubs(folder):
    subprocess.run(["protoc", "-Iproto", f"--python_out={folder}", f"--grpc_out={folder}",
                    f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}",
                    "precis/v1/summarization.proto", "google/rpc/status.proto"], check=True)
    sys.path.insert(0, folder)
    from precis.v1 import summarization_pb2, summarization_pb2_grpc
    return summarization_pb2, summarization_pb2_grpc


class Way:
    """A server, and the client that suits it."""

    def __init__(self, name, args, folder, flags, ca=None, token=None):
        self.name, self.ca = name, ca
        self.metadata = [("authorization", f"Bearer {token}")] if token else None
        self.server, ports = start(
            [args.server, "--model", args.model, "--threads", "1", "--pool-bytes", "64M", "--listen", "127.0.0.1:0",
             "--metrics-listen", "", *flags], os.path.join(folder, f"ports {name}"))
        self.address = "127.0.0.1:" + ports["grpc"]
        self.calls_ms, self.first_ms = [], []

    def channel(self):
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        if self.ca:
            return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(self.ca), options)
        return grpc.insecure_channel(self.address, options)

    def measure(self, api, api_grpc, calls):
        request = api.SummarizeRequest(text=TEXT, options=api.GenerationOptions(num_beams=1, max_new_tokens=1))
        with self.channel() as channel:
            stub = api_grpc.SummarizationServiceStub(channel)
            for i in range(calls + 1):
                begin = time.perf_counter()
                stub.Summarize(request, metadata=self.metadata, timeout=60)
                (self.calls_ms if i else self.first_ms).append((time.perf_counter() - begin) * 1e3)


def make_certificate(folder):
    path = lambda name: os.path.join(folder, name)  # noqa: E731
    subprocess.run(["openssl", "req", "-x509", *EC, "-days", "2", "-subj", "/CN=precis", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", path("key"), "-out", path("crt")],
                   check=True, capture_output=True)
    with open(path("crt"), "rb") as file:
        return path("crt"), path("key"), file.read()


def make_tokens(folder):
    token = secrets.token_hex(32)
    path = os.path.join(folder, "tokens")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"team-a {hashlib.sha256(token.encode()).hexdigest()}\n")
    os.chmod(path, 0o600)
    return path, token


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(p * len(values)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/demo", help="a checkpoint with a tokenizer")
    parser.add_argument("--rounds", type=int, default=10, help="each has every way, with connections of their own")
    parser.add_argument("--calls", type=int, default=300, help="of a way in a round")
    parser.add_argument("--server", default="build/release/server/precis-server")
    args = parser.parse_args()
    ways = []
    with tempfile.TemporaryDirectory() as folder:
        api, api_grpc = generate_stubs(folder)
        crt, key, ca = make_certificate(folder)
        tokens, token = make_tokens(folder)
        tls = ["--tls-cert", crt, "--tls-key", key]
        try:
            ways.append(Way("plain", args, folder, []))
            ways.append(Way("TLS", args, folder, tls, ca))
            ways.append(Way("TLS and a token", args, folder, [*tls, "--auth-tokens", tokens], ca, token))
            for way in ways:
                way.measure(api, api_grpc, args.calls)  # warm
                way.calls_ms, way.first_ms = [], []
            for i in range(args.rounds):
                for way in ways[i % len(ways):] + ways[:i % len(ways)]:
                    way.measure(api, api_grpc, args.calls)
        finally:
            for way in ways:
                way.server.terminate()
            for way in ways:
                way.server.wait()
    print("| way | call p50 ms | call p95 ms | first call of a connection p50 ms |\n|---|---|---|---|")
    for way in ways:
        print(f"| {way.name} | {statistics.median(way.calls_ms):.3f} | {percentile(way.calls_ms, 0.95):.3f} "
              f"| {statistics.median(way.first_ms):.2f} |")


if __name__ == "__main__":
    main()
