"""perf_analyzer, unchanged, against the real server; bounded by a number of requests.

The wheel perf-analyzer of PyPI, and tritonclient's wheels from 2.52 on, hold a binary that wants
glibc 2.38. That of tritonclient 2.51 runs on Debian 12; it wants libb64 and libcudart, which it does
not use here.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import triton as shared
from triton import MODEL, TEXTS

REQUESTS = 12
BINARY = os.path.join(os.path.dirname(sys.executable), "perf_analyzer")


def environment():
    libraries = glob.glob(os.path.join(sys.prefix, "lib", "python*", "site-packages", "nvidia",
                                       "cuda_runtime", "lib"))
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}


def skip_unless_it_runs():
    try:
        done = subprocess.run([BINARY, "--version"], env=environment(), capture_output=True,
                              text=True, check=False, timeout=60)
    except OSError as error:
        print(f"skipped: {error}; scripts/setup --with=clients installs perf_analyzer")
        sys.exit(77)
    if done.returncode != 0:
        print(f"skipped: perf_analyzer does not run here: {done.stderr.strip()}")
        sys.exit(77)


class PerfAnalyzerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = shared.Server()
        cls.addClassCleanup(cls.server.stop)

    def run_it(self, data, *flags):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"data": data}, file)
            file.flush()
            done = subprocess.run(
                [BINARY, "-m", MODEL, "-u", self.server.address, "-i", "grpc", "--async",
                 "--streaming", "--input-data", file.name, "--concurrency-range", "2",
                 "--request-count", str(REQUESTS), *flags],
                env=environment(), capture_output=True, text=True, check=False, timeout=240)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.server.wait_idle(self)
        return done.stdout

    def number(self, words, output):
        found = re.search(words + r": ([0-9.]+)", output)
        self.assertIsNotNone(found, output)
        return float(found.group(1))

    def test_whole_answers(self):
        output = self.run_it([{"text_input": [text], "max_tokens": [8]} for text in TEXTS])
        self.assertEqual(self.number("Request count", output), REQUESTS)
        self.assertGreaterEqual(self.number("Inference count", output), REQUESTS)
        self.assertGreaterEqual(self.number("Execution count", output), REQUESTS)
        self.assertRegex(output, r"queue \d+ usec \+ compute input \d+ usec \+ compute infer [1-9]")

    def test_answers_in_pieces(self):
        data = [{"text_input": [TEXTS[0]], "max_tokens": [8], "min_tokens": [8], "beam_width": [1],
                 "stream": [True]}]
        output = self.run_it(data)
        self.assertEqual(self.number("Request count", output), REQUESTS)
        self.assertGreater(self.number("Response Throughput", output),
                           2 * self.number("Throughput", output))

    def test_several_texts_a_request(self):
        output = self.run_it([{"text_input": [text], "max_tokens": [8]} for text in TEXTS],
                             "-b", "3")
        self.assertEqual(self.number("Request count", output), REQUESTS)
        self.assertGreaterEqual(self.number("Inference count", output), 3 * REQUESTS)


if __name__ == "__main__":
    skip_unless_it_runs()
    shared.main()
