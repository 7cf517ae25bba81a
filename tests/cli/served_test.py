"""served_test.py PRECIS_SERVER PRECIS: the command line on a real server with the demo model.

The ids it prints are those of models/demo/golden.json, and its errors and exit codes are as said.
"""

import json
import os
import pathlib
import pty
import subprocess
import sys
import tempfile
import time
import unittest

SERVER, PRECIS = sys.argv[1:3]
MODEL = pathlib.Path("models/demo")
CASES = json.loads((MODEL / "golden.json").read_text())["cases"]
# As the goldens were made: the text of a case has its prefix already.
GREEDY = ["--prefix", "", "--num-beams", "1", "--no-repeat-ngram-size", "0"]


def waits(pid):
    """Whether a process is this program already, and sleeps."""
    proc = pathlib.Path(f"/proc/{pid}")
    return (os.readlink(proc / "exe") == str(pathlib.Path(PRECIS).resolve())
            and "\nState:\tS" in (proc / "status").read_text())


class Served(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        ports = pathlib.Path(cls.folder.name) / "ports"
        cls.log = open(pathlib.Path(cls.folder.name) / "log", "w+")
        cls.server = subprocess.Popen(
            [SERVER, "--model", MODEL, "--dtype", "f32", "--pool-bytes", "256M",
             "--listen", "127.0.0.1:0",
             "--metrics-listen", "127.0.0.1:0", "--port-file", ports],
            stdin=subprocess.DEVNULL, stdout=cls.log, stderr=cls.log)
        give_up = time.monotonic() + 60
        while not (ports.exists() and cls.healthy(ports)):
            if cls.server.poll() is not None or time.monotonic() > give_up:
                cls.tearDownClass()
                raise RuntimeError("the server did not come up")
            time.sleep(0.05)

    @classmethod
    def healthy(cls, ports):
        lines = dict(line.split("=", 1) for line in ports.read_text().splitlines())
        cls.address = "127.0.0.1:" + lines["grpc"]
        probe = [SERVER, "--probe", "--listen", cls.address]
        return subprocess.run(probe, capture_output=True).returncode == 0

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        code = cls.server.wait(timeout=30)
        cls.log.seek(0)
        print(cls.log.read()[-3000:], "server exit code", code, file=sys.stderr)
        cls.log.close()
        cls.folder.cleanup()

    def precis(self, *words, text=None, timeout=60):
        return subprocess.run([PRECIS, *words], input=text, capture_output=True, text=True,
                              timeout=timeout)

    def summarize(self, *words, text):
        return self.precis("summarize", "--server", self.address, *words, "-", text=text)

    def test_json_has_the_ids_of_the_golden(self):
        self.assertGreater(len(CASES), 5)
        for case in CASES:
            with self.subTest(case=case["name"]):
                limit = str(case["greedy_options"]["max_new_tokens"])
                done = self.summarize("--json", *GREEDY, "--max-new-tokens", limit,
                                      text=case["text"])
                self.assertEqual(done.returncode, 0, done.stderr)
                reply = json.loads(done.stdout)
                expected = [i for i in case["greedy_ids"][1:] if i != 1]
                self.assertEqual(reply["sequences"][0]["token_ids"], expected)
                self.assertEqual(reply["sequences"][0]["text"], case["summary"])
                self.assertEqual(reply["source_tokens"], len(case["input_ids"]))

    def test_text_is_the_summary_and_a_newline(self):
        done = self.summarize(*GREEDY, text=CASES[0]["text"])
        self.assertEqual((done.returncode, done.stdout), (0, CASES[0]["summary"] + "\n"))

    def test_the_prefix_of_the_checkpoint_is_put_before_a_bare_document(self):
        done = self.precis("summarize", "--server", self.address, *GREEDY[2:],
                           "models/sample.txt")
        self.assertEqual((done.returncode, done.stdout), (0, CASES[0]["summary"] + "\n"))

    def test_a_wrong_option_names_its_field_and_flag(self):
        done = self.summarize("--top-p", "7", text="a document")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("INVALID_ARGUMENT", done.stderr)
        self.assertIn("field: options.top_p (--top-p)", done.stderr)

    def test_an_empty_document_names_the_text(self):
        done = self.summarize("--json", text="")
        self.assertEqual(done.returncode, 1)
        error = json.loads(done.stdout)["error"]
        self.assertEqual(error["code"], "INVALID_ARGUMENT")
        self.assertEqual(error["fields"][0]["field"], "text")

    def test_the_environment_names_the_server(self):
        done = subprocess.run([PRECIS, "summarize", *GREEDY[2:], "models/sample.txt"],
                              env={"PRECIS_SERVER": self.address}, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, CASES[0]["summary"] + "\n"))

    def test_usage_errors_exit_with_2(self):
        for words in ([], ["summarise"], ["summarize", "--top-p", "much"], ["verify"]):
            with self.subTest(words=words):
                self.assertEqual(self.precis(*words).returncode, 2)

    def test_unknown_words_are_met_with_the_nearest_ones(self):
        for words, said in ((["summarise"], "summarise: unknown command; did you mean summarize?"),
                            (["summarize", "--num_beams", "4"],
                             "--num_beams: unknown option; did you mean --num-beams?")):
            with self.subTest(words=words):
                done = self.precis(*words)
                self.assertEqual((done.returncode, done.stderr.splitlines()[0]),
                                 (2, "precis: " + said))

    def test_on_a_terminal_it_says_that_it_reads_standard_input(self):
        for file in ([], ["-"]):
            ours, theirs = pty.openpty()
            run = subprocess.Popen([PRECIS, "summarize", "--server", self.address, *GREEDY, *file],
                                   stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
            os.close(theirs)
            self.assertEqual(run.stderr.readline(),
                             "precis: reading standard input; Ctrl-D on a line of its own ends it\n")
            os.write(ours, b"A document.\n\x04")
            out, err = run.communicate(timeout=60)
            os.close(ours)
            self.assertEqual((run.returncode, err), (0, ""))
            self.assertTrue(out.strip())

    def test_a_pipe_is_read_without_a_word(self):
        self.assertEqual(self.summarize(*GREEDY, text=CASES[0]["text"]).stderr, "")

    def test_tls_to_a_server_without_it_says_so(self):
        done = self.summarize("--tls-ca", "system", text="a document")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{self.address} does not speak TLS: leave out --tls-ca", done.stderr)
        done = self.precis("bench", "serving", "--target", self.address, "--tls-ca", "system",
                           "--rates", "1")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{self.address} does not speak TLS: leave out --tls-ca", done.stderr)

    def test_plain_text_to_a_server_with_tls_says_so(self):
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = f"{folder}/key", f"{folder}/certificate"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
                            "-keyout", key, "-out", certificate], check=True, capture_output=True)
            os.chmod(key, 0o600)
            ports = pathlib.Path(folder) / "ports"
            server = subprocess.Popen(
                [SERVER, "--model", MODEL, "--pool-bytes", "16M", "--threads", "1",
                 "--listen", "127.0.0.1:0", "--metrics-listen", "", "--port-file", ports,
                 "--tls-cert", certificate, "--tls-key", key], stderr=subprocess.DEVNULL)
            self.addCleanup(server.wait, timeout=30)
            self.addCleanup(server.terminate)
            give_up = time.monotonic() + 60
            while not ports.exists() and time.monotonic() < give_up:
                self.assertIsNone(server.poll())
                time.sleep(0.02)
            grpc = dict(line.split("=") for line in ports.read_text().splitlines())["grpc"]
            address = f"localhost:{grpc}"
            ask = ["summarize", "--server", address, "--max-new-tokens", "4", "-"]
            plain = self.precis(*ask, text="a document")
            self.assertEqual(plain.returncode, 1)
            self.assertIn(f"{address} speaks TLS: say --tls-ca FILE", plain.stderr)
            done = self.precis(*ask, "--tls-ca", certificate, text="a document")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_inspect_fails_where_a_directory_cannot_be_served(self):
        done = self.precis("inspect", MODEL)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn('prefix             "summarize: "', done.stdout)
        done = self.precis("inspect", "google/flan-t5-small")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("precis: cannot be served: google/flan-t5-small: no such directory",
                      done.stderr)

    def test_help_and_version_are_no_errors(self):
        for words in (["--help"], ["--version"], ["summarize", "--help"]):
            with self.subTest(words=words):
                done = self.precis(*words)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def bench(self, *words):
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as trace:
            trace.write("# source, new\n40,6\n20,4\n")
            trace.flush()
            done = self.precis("bench", *words, "--trace", trace.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_bench_serving_loads_an_engine_or_a_server(self):
        for words in (["--model", MODEL, "--no-limit"], ["--target", self.address]):
            with self.subTest(words=words):
                lines = self.bench("serving", *words, "--rates", "10", "--seconds", "0.6")
                self.assertEqual([line["kind"] for line in lines], ["unloaded", "rate"])
                self.assertEqual(lines[0]["requests"], 2)
                # Arrivals last 0.6 s, or 10 times the p95 that is borne: 3 times the unloaded one.
                seconds = max(0.6, 10 * 3 * lines[0]["total_p95_ms"] / 1000)
                self.assertAlmostEqual(lines[1]["requests"], max(20, 10 * seconds), delta=1)
                # How many a machine that is busy otherwise finishes in time is its own affair.
                self.assertLessEqual(lines[1]["unfinished"], lines[1]["requests"] / 2)
                self.assertGreater(lines[1]["total_p50_ms"], 0)

    def test_bench_throughput_runs_the_trace(self):
        line, = self.bench("throughput", "--model", MODEL, "--no-limit", "--documents", "5")
        self.assertEqual((line["documents"], line["source_tokens"], line["new_tokens"]),
                         (5, 160, 26))

    def verify(self, edit, *words):
        """`precis verify` of the demo model with a golden that `edit` has changed."""
        golden = json.loads((MODEL / "golden.json").read_text())
        edit(golden)
        with tempfile.TemporaryDirectory() as folder:
            for file in MODEL.iterdir():
                if file.name != "golden.json":
                    (pathlib.Path(folder) / file.name).symlink_to(file.resolve())
            (pathlib.Path(folder) / "golden.json").write_text(json.dumps(golden))
            return self.precis("verify", folder, *words, timeout=120)

    def test_verify_passes_on_the_demo_model(self):
        for words in ([], ["--mixed"]):
            with self.subTest(words=words):
                done = self.verify(lambda golden: None, *words)
                self.assertRegex(done.stdout, r"\A[1-9]\d* passed, 0 failed\n\Z")
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_verify_fails_without_a_golden(self):
        done = self.precis("verify", "tests")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "0 passed, 0 failed\n")

    def test_verify_sees_one_wrong_id(self):
        def edit(golden):
            golden["cases"] = golden["cases"][:2]
            golden["cases"][1]["greedy_ids"][2] += 1

        done = self.verify(edit)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r", 1 failed\n\Z")
        self.assertIn(CASES[1]["name"], done.stdout)

    def test_closed_standard_descriptors_become_dev_null(self):
        # Whatever is opened first would get their numbers, and what is printed.
        reader, writer = os.pipe()
        with subprocess.Popen([PRECIS, "summarize", "--server", self.address, "-"], stdin=reader,
                              preexec_fn=lambda: (os.close(1), os.close(2))) as told:
            os.close(reader)
            fds = pathlib.Path(f"/proc/{told.pid}/fd")
            give_up = time.monotonic() + 60
            try:
                while not waits(told.pid) and time.monotonic() < give_up:
                    time.sleep(0.01)
                self.assertEqual([os.readlink(fds / n) for n in "12"], ["/dev/null"] * 2)
            finally:
                os.close(writer)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
