"""evaluate.py SERVER: scores, intervals, and the summaries of a real precis-server."""
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import recipes_testing

recipes_testing.need("torch", "numpy", "rouge_score", "grpc", "grpc_tools", "safetensors", "sentencepiece", "tqdm")

import numpy as np
import torch

import evaluate
from evaluation import scores, served

torch.set_num_threads(1)
SERVER = sys.argv[1]
MODEL = recipes_testing.ROOT / "models" / "demo"


class Scores(unittest.TestCase):
    def test_rouge_of_a_summary_is_that_of_the_library(self):
        points = scores.rouge(["the cats sat on the mat", "one two"], ["the cat sat", "three"])
        np.testing.assert_allclose(points[0, :3], [100 * 2 / 3, 100 * 4 / 7, 100 * 2 / 3], atol=0.01)
        self.assertEqual(points[1].tolist(), [0, 0, 0, 0])

    def test_the_interval_of_a_mean_is_that_of_the_normal_law(self):
        points = np.random.default_rng(5).normal(40, 10, size=(1000, 1))
        mean, low, high = scores.interval(points)
        error = 1.96 * points.std() / 1000**0.5
        self.assertAlmostEqual(low[0], mean[0] - error, delta=0.1)
        self.assertAlmostEqual(high[0], mean[0] + error, delta=0.1)

    def test_pairing_sees_what_intervals_hide(self):
        noise = np.random.default_rng(5).normal(40, 10, size=(200, 4))
        lines = scores.table([("a", noise), ("b", noise + 0.5)])
        self.assertIn("+0.50 [+0.50, +0.50]", lines[-1])


class Evaluated(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.place = Path(self.folder.name)
        self.texts = recipes_testing.write_texts(self.place / "texts.jsonl", 6)

    def serve(self):
        ports = self.place / "ports"
        process = subprocess.Popen([SERVER, "--model", MODEL, "--pool-bytes", "64M", "--dtype", "f32", "--listen",
                                    "127.0.0.1:0", "--metrics-listen", "", "--port-file", ports, "--log-level", "off"])
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        end = time.monotonic() + 120
        while not ports.exists():
            self.assertTrue(process.poll() is None and time.monotonic() < end, "the server did not start")
            time.sleep(0.02)
        return "127.0.0.1:" + dict(line.split("=") for line in ports.read_text().split())["grpc"]

    def evaluate(self, *words):
        out = io.StringIO()
        with mock.patch("sys.argv", ["evaluate.py", str(self.texts), *map(str, words)]), \
                contextlib.redirect_stdout(out):
            evaluate.main()
        return out.getvalue()

    def test_server_and_pytorch_summarize_alike(self):
        options = [f"--option={o}" for o in ("num_beams=1", "no_repeat_ngram_size=0", "max_new_tokens=48")]
        self.evaluate(f"served={self.serve()}", *options, "--save", self.place / "one")
        said = self.evaluate(f"first={self.place}/one/served.jsonl", f"second={MODEL}", "--save", self.place / "two")
        self.assertIn("+0.00 [+0.00, +0.00]", said)
        made = [json.loads(line)["made"] for line in (self.place / "two" / "second.jsonl").read_text().splitlines()]
        self.assertEqual(len(made), 6)
        self.assertTrue(all(made))

    def test_options_are_those_of_the_service(self):
        messages, _ = served.stubs()
        made = served.options_message(messages, {"early_stopping": "EARLY_STOPPING_TRUE", "stop": ["."], "num_beams": 2})
        self.assertEqual((made.early_stopping, list(made.stop), made.num_beams), (2, ["."], 2))
        for wrong in ({"beams": 2}, {"num_beams": "many"}):
            with self.assertRaisesRegex(SystemExit, "--option"):
                served.options_message(messages, wrong)

    def test_a_server_that_is_not_there_is_named(self):
        with mock.patch.object(served, "PATIENCE_S", 0.2), self.assertRaisesRegex(SystemExit, "no server answers"):
            self.evaluate("127.0.0.1:1")

    def test_what_cannot_be_evaluated_is_named(self):
        (self.place / "there").mkdir()
        for words, reason in ((["a=x:1", "a=y:1"], "NAME of its own"), (["x:1", "--save", self.place / "there"], "exists"),
                              ([f"a={MODEL}", "--option=num_beams=4"], "decoded greedily")):
            with self.assertRaisesRegex(SystemExit, reason):
                self.evaluate(*words)


if __name__ == "__main__":
    recipes_testing.main()
