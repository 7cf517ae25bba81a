"""A precis-server under test and what a client needs to talk to it; for the tests beside this file.

Stubs are generated into a temporary folder at start; no network is used. Call main() last: it parses
--server and --backend and runs the unit tests of the calling file.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import grpc

ARGS = argparse.Namespace()  # of main()
STUBS = tempfile.mkdtemp(prefix="precis_stubs_")
PROTOS = [
    "precis/v1/summarization.proto",
    "precis/admin/v1/admin.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
]
TEXT = "Precis serves summaries over gRPC. It reads a document and writes a shorter one."
LONG = 1000  # tokens of a summary that is still being written when the test acts


def generate_stubs(protos):
    # Not grpc_tools: Debian's holds a protoc that is older than `optional`.
    subprocess.run(
        ["protoc", "-Iproto", f"--python_out={STUBS}", f"--grpc_out={STUBS}",
         f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}"] + protos, check=True)
    sys.path.insert(0, STUBS)


class Server:
    """A running precis-server; its log is shown when a test fails. `log`: where that goes instead."""

    def __init__(self, *flags, ports=True, model="models/demo", log=None, preexec_fn=None):
        self.folder = tempfile.mkdtemp(prefix="precis_server_")
        self.log_path = os.path.join(self.folder, "log")
        port_file = os.path.join(self.folder, "ports")
        self.log = open(self.log_path, "w", encoding="utf-8")
        command = [ARGS.server, "--model", model, "--device", ARGS.backend,
                   "--pool-bytes", "64M", "--port-file", port_file]
        if ports:
            for flag in ("--listen", "--metrics-listen"):
                command += [] if flag in flags else [flag, "127.0.0.1:0"]
        self.process = subprocess.Popen(command + list(flags), stderr=log or self.log,
                                        preexec_fn=preexec_fn)
        if not ports:
            return
        end = time.monotonic() + 120
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the server did not start:\n" + self.read_log())
            time.sleep(0.02)
        with open(port_file, encoding="utf-8") as file:
            values = dict(line.strip().split("=") for line in file)
        self.address = f"127.0.0.1:{values['grpc']}"
        self.metrics_address = f"127.0.0.1:{values['metrics']}"
        self.health_port = values.get("health")  # with --health-listen
        self.channel = grpc.insecure_channel(self.address)
        self.stub = api_grpc.SummarizationServiceStub(self.channel)

    def read_log(self):
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def raw_metrics(self):
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=10) as reply:
            return reply.read().decode()

    def metrics(self):
        values = {}
        for line in self.raw_metrics().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values

    def leased_pages(self):
        values = self.metrics()
        return sum(values[f'precis_pool_pages{{kind="{kind}"}}']
                   for kind in ("self", "cross", "promised"))

    def wait_idle(self, test):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.leased_pages() == 0 and self.metrics()["precis_admitted_requests"] == 0:
                return
            time.sleep(0.01)
        test.fail("pages were not given back:\n" + self.raw_metrics())

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.log.close()
            if self.process.returncode not in (0, 1):
                print(f"precis-server ended with {self.process.returncode}:\n" + self.read_log())
            shutil.rmtree(self.folder, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--backend", default="cpu")
    ARGS.__dict__.update(vars(parser.parse_known_args()[0]))
    rest = parser.parse_known_args()[1]
    try:
        unittest.main(argv=[sys.argv[0]] + rest, verbosity=2)
    finally:
        shutil.rmtree(STUBS, ignore_errors=True)


generate_stubs(PROTOS)
from google.rpc import error_details_pb2 as details_pb2  # noqa: E402
from google.rpc import status_pb2  # noqa: E402
from precis.v1 import summarization_pb2 as api  # noqa: E402
from precis.v1 import summarization_pb2_grpc as api_grpc  # noqa: E402
