"""Who gets in: TLS, client certificates, tokens, limits of a client and of a connection. The real server,
files as an operator makes them, and Debian's python3-grpcio as the client; each refusal is provoked.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import grpc

import harness
from harness import ARGS, LONG, TEXT, Server, api, api_grpc, details_pb2, status_pb2

Code = grpc.StatusCode
ALPHA, BETA = "alpha-token", "beta-token"
SHORT = api.GenerationOptions(num_beams=1, max_new_tokens=4)


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def bearer(token):
    return [("authorization", f"Bearer {token}")]


def detail(error, message):
    for key, value in error.trailing_metadata() or []:
        if key == "grpc-status-details-bin":
            for item in status_pb2.Status.FromString(value).details:
                if item.Unpack(message):
                    return message
    return None


class SecurityTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="precis_security_")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o600):
        """The file appears whole, as docs/security.md asks."""
        with open(self.path("partial"), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path("partial"), mode)
        os.rename(self.path("partial"), self.path(name))
        return self.path(name)

    def tokens(self, *lines, mode=0o600):
        return self.write("tokens", "\n".join(lines) + "\n", mode)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.folder)

    def make_ca(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                     "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                     "-out", f"{name}.crt")

    def make_certificate(self, name, ca, to=None):
        """NAME.crt and NAME.key, signed by `ca`; `to`: the names that they get in the end."""
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-subj", f"/O=Precis tests/CN={name}", "-keyout", f"{name}.key",
                     "-out", f"{name}.csr")
        self.write(f"{name}.ext", "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key",
                     "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext",
                     "-out", f"{name}.crt")
        if to:
            os.rename(self.path(f"{name}.key"), self.path(f"{to}.key"))
            os.rename(self.path(f"{name}.crt"), self.path(f"{to}.crt"))

    def start(self, *flags):
        server = Server(*flags)
        self.addCleanup(server.stop)
        return server

    def start_tls(self, *flags):
        self.make_ca("ca")
        self.make_certificate("server", "ca")
        return self.start("--tls-cert", self.path("server.crt"), "--tls-key",
                          self.path("server.key"), *flags)

    def refused_start(self, *flags):
        """What the server says when it does not start."""
        done = subprocess.run(
            [ARGS.server, "--model", "models/demo", "--device", ARGS.backend, "--pool-bytes",
             "64M", "--listen", "127.0.0.1:0", "--metrics-listen", "", *flags],
            stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr.splitlines()[-1]

    def secure_stub(self, server, ca="ca", certificate=None):
        chain = self.read(f"{certificate}.crt") if certificate else None
        key = self.read(f"{certificate}.key") if certificate else None
        credentials = grpc.ssl_channel_credentials(self.read(f"{ca}.crt"), key, chain)
        channel = grpc.secure_channel(server.address, credentials,
                                      [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return api_grpc.SummarizationServiceStub(channel)

    def call(self, stub, metadata=None, text=TEXT, **options):
        choice = api.GenerationOptions(**options) if options else SHORT
        return stub.Summarize(api.SummarizeRequest(text=text, options=choice), metadata=metadata,
                              timeout=60)

    def refused(self, stub, metadata=None, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(stub, metadata, **options)
        return caught.exception

    def eventually(self, question, what):
        end = time.monotonic() + 30
        while not question():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.1)

    def lets_in(self, stub, metadata=None):
        try:
            self.call(stub, metadata)
            return True
        except grpc.RpcError as error:
            self.assertIn(error.code(), (Code.UNAUTHENTICATED, Code.UNAVAILABLE))
            return False

    # Tokens.

    def test_a_call_needs_a_known_token_and_health_needs_none(self):
        server = self.start("--insecure", "--auth-tokens",
                            self.tokens(f"team-a {digest(ALPHA)}"))
        self.assertTrue(self.call(server.stub, bearer(ALPHA)).summary.sequences)
        none = self.refused(server.stub)
        self.assertEqual(none.code(), Code.UNAUTHENTICATED)
        self.assertEqual(detail(none, details_pb2.ErrorInfo()).reason, "UNAUTHENTICATED")
        for metadata in (bearer(BETA), bearer(""), bearer(digest(ALPHA)),
                         [("authorization", ALPHA)], bearer(ALPHA) * 2):
            error = self.refused(server.stub, metadata)
            self.assertEqual(error.code(), Code.UNAUTHENTICATED)
            self.assertEqual(error.details(), none.details(), "says not what was wrong")
        for call in (lambda: list(server.stub.StreamSummarize(api.StreamSummarizeRequest(text=TEXT))),
                     lambda: list(server.stub.SummarizeMany(iter([]))),
                     lambda: server.stub.ListModels(api.ListModelsRequest())):
            with self.assertRaises(grpc.RpcError) as caught:
                call()
            self.assertEqual(caught.exception.code(), Code.UNAUTHENTICATED)
        health = server.channel.unary_unary("/grpc.health.v1.Health/Check")
        self.assertEqual(health(b"", timeout=10), b"\x08\x01")
        log = server.read_log()
        self.assertIn('client="token:team-a"', log)
        for secret in (ALPHA, BETA, digest(ALPHA)):
            self.assertNotIn(secret, log)

    def test_tokens_are_read_again_on_a_change_and_on_sighup(self):
        server = self.start("--insecure", "--auth-tokens", self.tokens(f"a {digest(ALPHA)}"))
        self.assertTrue(self.lets_in(server.stub, bearer(ALPHA)))
        self.tokens(f"a {digest(BETA)}")
        self.eventually(lambda: self.lets_in(server.stub, bearer(BETA)), "the new token")
        self.assertFalse(self.lets_in(server.stub, bearer(ALPHA)))
        self.tokens("a is not a digest")
        server.process.send_signal(signal.SIGHUP)
        failed = 'precis_reload_failed{what="tokens"}'
        self.eventually(lambda: server.metrics()[failed] == 1, "the metric")
        self.assertTrue(self.lets_in(server.stub, bearer(BETA)), "the old tokens stay")
        self.assertIn("/tokens:1: the second word is not a SHA-256", server.read_log())
        self.tokens(f"a {digest(ALPHA)}", f"b {digest(BETA)}")
        server.process.send_signal(signal.SIGHUP)
        self.eventually(lambda: self.lets_in(server.stub, bearer(ALPHA)), "both tokens")
        self.assertTrue(self.lets_in(server.stub, bearer(BETA)))
        self.assertEqual(server.metrics()[failed], 0)
        self.assertIsNone(server.process.poll(), "SIGHUP ends nothing")

    def test_a_token_file_that_is_open_wrong_or_unprotected_is_refused_at_start(self):
        for mode in (0o644, 0o604, 0o660):
            message = self.refused_start("--insecure", "--auth-tokens",
                                         self.tokens(f"a {digest(ALPHA)}", mode=mode))
            self.assertIn(self.path("tokens"), message)
            self.assertIn(f"{mode:04o}", message)
        self.assertIn("tokens:2: the second word", self.refused_start(
            "--insecure", "--auth-tokens", self.tokens(f"a {digest(ALPHA)}", "b 12")))
        self.assertIn("--auth-tokens: tokens would travel without encryption",
                      self.refused_start("--auth-tokens", self.tokens(f"a {digest(ALPHA)}")))

    # Limits.

    def test_a_clients_quota_refuses_that_client_alone(self):
        server = self.start("--insecure", "--auth-tokens", self.tokens(
            f"a {digest(ALPHA)} requests=1", f"b {digest(BETA)}"))
        stream = server.stub.StreamSummarize(
            api.StreamSummarizeRequest(text=TEXT, options=api.GenerationOptions(
                num_beams=1, max_new_tokens=LONG, min_new_tokens=LONG)), metadata=bearer(ALPHA))
        next(stream)
        error = self.refused(server.stub, bearer(ALPHA))
        self.assertEqual(error.code(), Code.RESOURCE_EXHAUSTED)
        self.assertEqual(detail(error, details_pb2.ErrorInfo()).reason, "QUOTA")
        self.call(server.stub, bearer(BETA))
        stream.cancel()
        server.wait_idle(self)
        self.call(server.stub, bearer(ALPHA))

    def test_a_rate_by_cost_says_when_to_come_again(self):
        server = self.start("--insecure", "--auth-tokens", self.tokens(
            f"a {digest(ALPHA)} tokens-per-second=50 burst=20"))
        self.call(server.stub, bearer(ALPHA), max_new_tokens=80, num_beams=1)
        error = self.refused(server.stub, bearer(ALPHA))
        self.assertEqual(error.code(), Code.RESOURCE_EXHAUSTED)
        self.assertEqual(detail(error, details_pb2.ErrorInfo()).reason, "QUOTA")
        delay = detail(error, details_pb2.RetryInfo()).retry_delay
        seconds = delay.seconds + delay.nanos * 1e-9
        self.assertGreater(seconds, 0)
        trailing = dict(error.trailing_metadata())
        self.assertGreaterEqual(int(trailing["retry-after"]), seconds)
        time.sleep(seconds)
        self.call(server.stub, bearer(ALPHA))

    # TLS.

    def test_tls_serves_and_its_certificate_is_read_again(self):
        server = self.start_tls()
        self.call(self.secure_stub(server))
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(server.stub)  # in plain text
        self.assertEqual(caught.exception.code(), Code.UNAVAILABLE)
        self.assertGreater(server.metrics()["precis_certificate_expiry_timestamp_seconds"],
                           time.time() + 86400)
        # Another authority's: a client that trusts only that one gets in after the reload.
        self.make_ca("other")
        self.assertFalse(self.lets_in(self.secure_stub(server, "other")))
        self.make_certificate("second", "other", to="server")
        self.eventually(lambda: self.lets_in(self.secure_stub(server, "other")), "the new one")
        self.assertFalse(self.lets_in(self.secure_stub(server, "ca")))

    def test_a_bad_certificate_leaves_the_old_one_in_force(self):
        server = self.start_tls()
        failed = 'precis_reload_failed{what="certificates"}'
        self.assertEqual(server.metrics()[failed], 0)
        self.make_certificate("stranger", "ca")
        for name, content in (("server.crt", self.read("stranger.crt").decode()),
                              ("server.crt", "not a certificate\n"),
                              ("server.key", "not a key\n")):
            good = self.read(name).decode()
            self.write(name, content)
            self.eventually(lambda: server.metrics()[failed] == 1, "the metric")
            time.sleep(2)  # longer than gRPC looks at what it reads
            self.call(self.secure_stub(server))
            self.write(name, good)
            self.eventually(lambda: server.metrics()[failed] == 0, "the metric")
        self.assertIn("server.key: is not the key of", server.read_log())

    def test_files_that_do_not_fit_are_named_at_start(self):
        self.make_ca("ca")
        self.make_certificate("server", "ca")
        self.make_certificate("stranger", "ca")
        crt, key = self.path("server.crt"), self.path("server.key")
        message = self.refused_start("--tls-cert", crt, "--tls-key", self.path("stranger.key"))
        self.assertIn("stranger.key: is not the key of", message)
        copy = self.write("copy.crt", self.read("server.crt").decode())
        self.assertIn("copy.crt: is not a private key", self.refused_start(
            "--tls-cert", crt, "--tls-key", copy))
        bad = self.write("bad", "nothing\n")
        self.assertIn("/bad: is not a certificate", self.refused_start(
            "--tls-cert", bad, "--tls-key", key))
        self.assertIn("/bad: is not a certificate", self.refused_start(
            "--tls-cert", crt, "--tls-key", key, "--tls-client-ca", bad))
        self.assertIn("--tls-cert needs --tls-key", self.refused_start("--tls-cert", crt))
        self.assertIn("/gone: cannot be read", self.refused_start(
            "--tls-cert", crt, "--tls-key", self.path("gone")))
        os.chmod(key, 0o644)
        self.assertIn("0644", self.refused_start("--tls-cert", crt, "--tls-key", key))
        self.openssl("pkey", "-in", "stranger.key", "-aes128", "-passout", "pass:x", "-out",
                     "locked.key")
        self.assertIn("locked.key: is not a private key in PEM without a password",
                      self.refused_start("--tls-cert", self.path("stranger.crt"), "--tls-key",
                                         self.path("locked.key")))

    def test_client_certificates_are_needed_and_name_their_clients(self):
        self.make_ca("clients")
        server = self.start_tls("--tls-client-ca", self.path("clients.crt"), "--client-limits",
                                "tokens-per-second=1 burst=20")
        self.make_certificate("one", "clients")
        self.make_certificate("two", "clients")
        self.make_certificate("stranger", "ca")
        self.assertEqual(self.refused(self.secure_stub(server)).code(), Code.UNAVAILABLE)
        self.assertEqual(self.refused(self.secure_stub(server, certificate="stranger")).code(),
                         Code.UNAVAILABLE)
        one, two = (self.secure_stub(server, certificate=name) for name in ("one", "two"))
        self.call(one)
        error = self.refused(one)
        self.assertEqual(detail(error, details_pb2.ErrorInfo()).reason, "QUOTA")
        self.call(two)
        self.assertIn('client="certificate:CN=one,O=Precis tests"', server.read_log())

    def test_probe_and_command_line_get_in_with_tls_certificates_and_tokens(self):
        server = self.start_tls("--auth-tokens", self.tokens(f"a {digest(ALPHA)}"))
        probe = [ARGS.server, "--probe", "--listen", server.address, "--tls-cert",
                 self.path("server.crt"), "--tls-key", self.path("server.key")]
        self.assertEqual(subprocess.run(probe, timeout=30, check=False).returncode, 0)
        plain = subprocess.run(probe[:4], timeout=30, check=False, stderr=subprocess.PIPE)
        self.assertEqual(plain.returncode, 1, "without TLS nobody answers")
        summarize = [ARGS.server[:-len("server/precis-server")] + "cli/precis", "summarize",
                     "--server", server.address, "--max-new-tokens", "4"]
        token = self.write("token", ALPHA + "\n")

        def run(*words, **environment):
            return subprocess.run([*summarize, *words, "-"], input=TEXT, capture_output=True,
                                  text=True, timeout=60, check=False,
                                  env={**os.environ, **environment})
        ca = ["--tls-ca", self.path("ca.crt")]
        done = run(*ca, "--token-file", token)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.strip())
        self.assertEqual(run(*ca, PRECIS_TOKEN=ALPHA).returncode, 0)
        self.assertIn("UNAUTHENTICATED", run(*ca).stderr)
        self.assertIn("UNAVAILABLE", run("--token-file", token).stderr)

    def test_probe_shows_the_servers_certificate_where_one_is_needed(self):
        server = self.start_tls("--tls-client-ca", self.path("ca.crt"))
        probe = [ARGS.server, "--probe", "--listen", server.address, "--tls-cert",
                 self.path("server.crt"), "--tls-key", self.path("server.key")]
        self.assertEqual(subprocess.run(probe, timeout=30, stderr=subprocess.DEVNULL,
                                        check=False).returncode, 1)
        probe += ["--tls-client-ca", self.path("ca.crt")]
        self.assertEqual(subprocess.run(probe, timeout=30, check=False).returncode, 0)

    # Connections.

    def test_a_connection_has_so_many_calls_at_once(self):
        server = self.start("--max-connection-streams", "2")
        held = []
        for _ in range(2):
            held.append(server.stub.SummarizeMany(iter(lambda: time.sleep(60), 1)))
            held[-1].initial_metadata()
        third = server.stub.Summarize.future(api.SummarizeRequest(text=TEXT, options=SHORT))
        with self.assertRaises(grpc.FutureTimeoutError):
            third.result(timeout=2)
        held[0].cancel()
        self.assertTrue(third.result(timeout=60).summary.sequences)
        held[1].cancel()

    def test_too_much_metadata_is_refused(self):
        server = self.start("--max-metadata-bytes", "2048")
        self.call(server.stub, [("x-note", "n" * 1000)])
        error = self.refused(server.stub, [("x-note", "n" * 4000)])
        self.assertEqual(error.code(), Code.RESOURCE_EXHAUSTED)

    def test_too_many_pings_end_the_connection(self):
        server = self.start("--min-ping-interval", "60s")

        def idle_stream(ping_ms):
            channel = grpc.insecure_channel(server.address, [
                ("grpc.keepalive_time_ms", ping_ms), ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_pings_without_data", 0), ("grpc.use_local_subchannel_pool", 1),
                ("grpc.http2.min_time_between_pings_ms", ping_ms)])
            self.addCleanup(channel.close)
            stub = api_grpc.SummarizationServiceStub(channel)
            return stub.SummarizeMany(iter(lambda: time.sleep(60), 1))
        patient, hasty = idle_stream(600_000), idle_stream(300)
        with self.assertRaises(grpc.RpcError) as caught:
            next(hasty)
        self.assertEqual(caught.exception.code(), Code.UNAVAILABLE)
        self.assertRegex(caught.exception.details().lower(), "too.many.pings")
        self.assertTrue(patient.is_active())
        patient.cancel()

    def test_an_old_connection_is_left_and_its_running_call_finishes(self):
        server = self.start("--max-connection-age", "1s", "--max-connection-age-grace", "60s")
        text, start = "", time.monotonic()
        pieces = server.stub.StreamSummarize(api.StreamSummarizeRequest(
            text=TEXT, options=api.GenerationOptions(num_beams=1, max_new_tokens=LONG,
                                                     min_new_tokens=LONG)))
        finished = 0
        for event in pieces:
            text += event.delta.text
            finished += event.WhichOneof("event") == "finished"
            if time.monotonic() - start < 3:
                time.sleep(0.01)
        self.assertEqual(finished, 1)
        self.assertTrue(text)
        # And no call is lost while connections come and go.
        end = time.monotonic() + 4
        while time.monotonic() < end:
            self.call(server.stub)

    def test_a_call_beyond_the_grace_is_cut(self):
        server = self.start("--max-connection-age", "1s", "--max-connection-age-grace", "1s")
        stream = server.stub.SummarizeMany(iter(lambda: time.sleep(60), 1))
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), Code.UNAVAILABLE)
        self.call(server.stub)

    def test_no_text_of_a_document_and_no_token_is_in_the_log(self):
        marker = "xyzzyplugh"
        server = self.start("--log-level", "trace", "--insecure", "--auth-tokens",
                            self.tokens(f"a {digest(marker + 'a')}"), "--max-text-bytes", "1K")
        metadata = bearer(marker + "a")
        self.call(server.stub, metadata, text=marker + " " + TEXT)
        list(server.stub.StreamSummarize(api.StreamSummarizeRequest(
            text=marker, options=SHORT), metadata=metadata))
        list(server.stub.SummarizeMany(iter([
            api.SummarizeManyRequest(id=marker, text=marker, options=SHORT),
            api.SummarizeManyRequest(id=marker + "2", text=marker * 1000),
        ]), metadata=metadata))
        self.refused(server.stub, metadata, text=marker * 1000)
        self.refused(server.stub, metadata, text=marker, top_p=7)
        self.refused(server.stub, bearer(marker), text=marker)
        with self.assertRaises(grpc.RpcError):
            server.stub.Summarize(api.SummarizeRequest(model=marker, text=TEXT), metadata=metadata)
        broken = server.channel.unary_unary("/precis.v1.SummarizationService/Summarize")
        with self.assertRaises(grpc.RpcError):
            broken(b"\x1a\x0a" + marker.encode()[:9] + b"\xff", metadata=metadata, timeout=10)
        log = server.read_log()
        self.assertGreaterEqual(log.count("request id="), 8)
        self.assertNotIn(marker, log)


if __name__ == "__main__":
    harness.main()
