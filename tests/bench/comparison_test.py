"""bench/compare and bench/trace.py without the engines: the simulated queue, the journal, the tables."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(".").resolve()
sys.path.insert(0, str(ROOT))
from bench import trace as trace_script  # noqa: E402
from bench.comparison import models  # noqa: E402
from bench.comparison import overview  # noqa: E402
from bench.comparison import report  # noqa: E402
from bench.comparison import static_batching as static  # noqa: E402
from bench.comparison.journal import Journal  # noqa: E402
from bench.peers import peers  # noqa: E402


def grid(engine="openvino", dtype="bf16-w8", encode_s=0.1, step_s=0.01):
    """Batches that take encode_s a document of 100 tokens and step_s a step, whatever their size."""
    return [{"engine": engine, "type": dtype, "model": "t5-small", "batch": batch, "source": source, "new": 10,
             "encode_s": encode_s * batch * source / 100, "total_s": encode_s * batch * source / 100 + 10 * step_s}
            for batch in (1, 4) for source in (100, 200)]


class StaticBatching(unittest.TestCase):
    def test_arrivals_are_those_of_the_command(self):
        arrivals = static.poisson_arrivals(1, 2, 3)
        # Also in tests/tools/bench/arrivals_test.cc.
        self.assertAlmostEqual(arrivals[0], 0.4180027673851796, places=12)
        self.assertAlmostEqual(arrivals[2], 2.8730610485262593, places=12)

    def test_percentile_is_the_nearest_rank(self):
        self.assertEqual(static.percentile(range(1, 101), 0.95), 95)
        self.assertEqual(static.percentile([7], 0.5), 7)

    def test_times_lie_between_those_that_were_measured(self):
        times = static.BatchTimes(grid())
        self.assertAlmostEqual(times.seconds(1, 100, 10), 0.2)
        self.assertAlmostEqual(times.seconds(2, 150, 5), 0.1 * 2 * 1.5 + 0.05)
        self.assertAlmostEqual(times.seconds(4, 300, 0), 1.2)  # beyond the grid

    def test_the_best_of_several_rounds_counts(self):
        times = static.BatchTimes(grid(step_s=0.01) + grid(step_s=0.02))
        self.assertAlmostEqual(times.seconds(1, 100, 10), 0.2)

    def test_a_hole_in_the_grid_is_an_error(self):
        with self.assertRaisesRegex(ValueError, r"lacks \[\(4, 200\)\]"):
            static.BatchTimes(grid()[:3])

    def test_a_busy_engine_takes_what_has_waited_and_pads_it(self):
        times = static.BatchTimes(grid())
        items = [(100, 10), (100, 10), (200, 20)]
        # The first alone until 0.2; then both others as 2 x 200 tokens and 20 steps: 0.4 + 0.2.
        waited = static.latencies([0, 0.1, 0.15], items, times, 4)
        for got, expected in zip(waited, [0.2, 0.7, 0.65]):
            self.assertAlmostEqual(got, expected)
        # One at a time: 0.2, then 0.2, then 0.2 + 0.2.
        for got, expected in zip(static.latencies([0, 0.1, 0.15], items, times, 1), [0.2, 0.3, 0.65]):
            self.assertAlmostEqual(got, expected)

    def test_the_highest_rate_keeps_to_its_bound_and_to_what_the_engine_can_do(self):
        trace = [(100, 10)]
        times = static.BatchTimes(grid(encode_s=0.001, step_s=0.01))
        rate, batch = static.highest_rate(trace, times, 3 * static.unloaded_p95(trace, times))
        self.assertEqual(batch, 4)  # four cost hardly more than one
        self.assertGreater(rate, 10)
        self.assertLess(rate, 4 / times.of(trace * 4))

    def test_no_rate_is_found_where_one_request_takes_too_long(self):
        self.assertLess(static.highest_rate([(100, 10)], static.BatchTimes(grid()), 0.1)[0], 1e-6)

    def test_offline_takes_the_best_batch(self):
        rate, batch = static.offline_rate([(100, 10)] * 8, static.BatchTimes(grid(encode_s=0.001)))
        self.assertEqual(batch, 4)
        self.assertAlmostEqual(rate, 4 / 0.104)


class TheJournal(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "results.jsonl")

    def test_keeps_what_it_has(self):
        journal = Journal(self.path)
        journal.add("a", part="latency", results=[{"x": 1}])
        journal.add("b", part="grid", error="not there")
        again = Journal(self.path)
        self.assertTrue(again.has("a"))
        self.assertFalse(again.has("b"))  # it is tried again
        self.assertEqual(again.results(part="latency"), [{"x": 1}])
        again.add("b", part="grid", results=[{"y": 2}])
        self.assertEqual(Journal(self.path).results(part="grid"), [{"y": 2}])

    def test_survives_a_line_that_was_cut_off(self):
        Journal(self.path).add("a", results=[])
        with open(self.path, "a", encoding="utf-8") as file:
            file.write('{"key": "b", "resu')
        journal = Journal(self.path)
        journal.add("c", results=[])
        self.assertEqual(set(Journal(self.path).entries), {"a", "c"})

    def test_names_the_line_that_is_none(self):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write('{"key": "a"}\nnothing\n')
        with self.assertRaisesRegex(ValueError, "results.jsonl:2: no measurement"):
            Journal(self.path)


class Compare(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.work = pathlib.Path(self.folder.name)
        for name in ("t5-small", "t5-small-g2", "distilbart-cnn-12-6"):
            (self.work / name).mkdir()
            (self.work / name / "model.safetensors").touch()
        # An engine that says what it was asked for, and is not there for int8.
        self.precis = self.work / "precis"
        self.precis.write_text('''#!/usr/bin/python3
import json, os, sys
words = dict(zip(sys.argv[3::2], sys.argv[4::2]))
with open(os.path.dirname(sys.argv[0]) + "/ran", "a") as file: file.write(" ".join(sys.argv[1:3]) + "\\n")
if words["--dtype"] == "int8": sys.exit("precis: --dtype is 'int8'")
print(json.dumps({"engine": "precis", "type": "bf16", "model": os.path.basename(words["--model"]), "batch": 1, "beams": 1,
                  "source": int(words["--source"]), "new": 128, "encode_s": 0.1, "total_s": 0.5, "step_ms": 3.1, "limit_s": 0.25,
                  "fraction_of_limit": 0.5, "load_s": 0.3}))
''')
        self.precis.chmod(0o755)

    def compare(self, *words):
        return subprocess.run(
            [sys.executable, "bench/compare", "--out", self.work / "out", "--work", self.work, "--precis", self.precis,
             "--models", "t5-small", "--parts", "latency", "--peers-python", "", "--rounds", "2", *words],
            capture_output=True, text=True)

    def ran(self):
        return len((self.work / "ran").read_text().splitlines())

    def test_measures_once_tries_what_failed_again_and_writes_a_table(self):
        done = self.compare()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.ran(), 8)  # 2 rounds x 2 models x 2 types
        self.assertEqual(self.compare().returncode, 0)
        self.assertEqual(self.ran(), 8 + 4)
        self.assertEqual(self.compare("--report-only").returncode, 0)
        self.assertEqual(self.ran(), 12)
        page = (self.work / "out" / "compare.md").read_text()
        self.assertIn("| t5-small | 1 x 1 | precis bf16 | 0.500 | 0.100 | 3.10 | 1.00 | 0.50 | 0.3 |", page)
        self.assertIn("| t5-small | 1 x 1 | precis bf16 g2 | 0.500 |", page)
        self.assertIn("| latency/precis/int8/t5-small-g2/2 | exit code 1: precis: --dtype is 'int8' |", page)

    def test_a_bart_has_cases_of_its_own_and_a_row_for_each_length(self):
        words = ("--models", "distilbart-cnn-12-6", "--kv-heads", "0", "--types", "bf16", "--parts", "latency,throughput")
        self.assertEqual(self.compare(*words).returncode, 0)
        self.assertEqual((self.work / "ran").read_text(), "bench latency\n" * 4)  # 2 rounds x 2 lengths, no throughput
        page = (self.work / "out" / "compare.md").read_text()
        self.assertIn("| distilbart-cnn-12-6 | 1 x 1, 512 in | precis bf16 | 0.500 |", page)
        self.assertIn("| distilbart-cnn-12-6 | 1 x 1, 1024 in | precis bf16 | 0.500 |", page)
        command = [json.loads(line)["command"] for line in (self.work / "results.jsonl").read_text().splitlines()][0]
        self.assertIn("--cases 1x1,1x4 --source 512 ", command)
        self.assertEqual(self.compare(*words).returncode, 0)
        self.assertEqual(self.ran(), 4)  # each length is known by a key of its own

    def test_a_model_that_nothing_makes_is_named(self):
        done = self.compare("--models", "t5-small,bart-huge")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--models: unknown bart-huge; known are t5-small,", done.stderr)

    def test_the_models_are_those_that_checkpoints_are_made_of(self):
        made = set(re.findall(r'^    \{"([\w-]+)", Random', (ROOT / "bench/make_checkpoint.cc").read_text(), re.MULTILINE))
        self.assertEqual(made, set(models.MODELS))

    def test_says_that_the_peers_are_not_there(self):
        done = self.compare("--peers-python", "no/such/python")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no/such/python is not there; see bench/peers/README.md", done.stderr)

    def test_the_trace_table_has_peers_and_precis(self):
        journal = Journal(self.work / "results.jsonl")
        about = {"model": "t5-small", "round": 1, "machine": {"cores": 2, "cpu": "X"}}
        journal.add("g", part="grid", engine="openvino", type="bf16-w8", results=grid(), **about)
        journal.add("t", part="throughput", engine="precis", type="bf16", **about,
                    results=[{"documents_per_s": 30, "fraction_of_limit": 0.4}])
        journal.add("s", part="serving", engine="precis", type="bf16", **about, results=[
            {"kind": "unloaded", "total_p95_ms": 200}, {"kind": "rate", "offered_per_s": 9, "total_p95_ms": 300},
            {"kind": "summary", "highest_per_s": 9, "limit_per_s": 48, "limit_rate": 36}])
        parts, _, _, peers = report.page(journal, [(100, 10), (200, 10)], 5)
        page = "\n".join(parts)
        self.assertIn("| t5-small | precis bf16 | 30.00 |  | 0.40 | 0.200 | 9.00 |  |  | 0.25 |", page)
        self.assertRegex(page, r"\| t5-small \| openvino bf16-w8 \| \d")
        self.assertGreater(peers["t5-small", "openvino bf16-w8"]["at_our_bound"], 0)

    def test_the_ratios_are_those_of_the_best_peer(self):
        journal = Journal(self.work / "results.jsonl")
        def add(engine, dtype, model, batch, beams, total_s, source=512):
            line = {"engine": engine, "type": dtype, "model": model, "batch": batch, "beams": beams, "total_s": total_s,
                    "source": source}
            journal.add(str(len(journal.entries)), part="latency", results=[line])
        for batch, beams, times in ((32, 1, (4, 6, 8)), (1, 4, (1, 5, 3))):
            for (engine, dtype), total_s in zip((("precis", "bf16"), ("slow", "f32"), ("other", "int8")), times):
                add(engine, dtype, "t5-small", batch, beams, total_s)
        add("precis", "bf16", "t5-small-g2", 32, 1, 2)
        add("precis", "int8", "t5-base", 32, 1, 2)  # without a peer: no ratio
        for source, times in ((1024, (9, 9)), (512, (2, 5))):  # of the shortest documents
            for engine, total_s in zip(("precis", "other"), times):
                add(engine, "bf16", "bart-large-cnn", 1, 1, total_s, source)
        page = report.ratios_table(report.best_latencies(journal))
        self.assertIn("| t5-small | bf16 | 1.50 | 3.00 |  | 3.00 |", page)
        self.assertNotIn("t5-base", page)
        self.assertIn("| bart-large-cnn | bf16 |  |  | 2.50 |  |", page)


class Overview(unittest.TestCase):
    PAGE = ROOT / "docs/performance/compare.md"
    CHART = ROOT / "docs/performance/images/compare_overview.svg"

    def test_the_chart_in_the_tree_is_drawn_from_the_measured_page(self):
        self.assertEqual(overview.draw(self.PAGE.read_text()), self.CHART.read_text())

    def test_bars_are_as_long_as_the_seconds(self):
        row = "| t5-base | {} | {} | {} | 0 | 0 | 1 |  | 0 |\n"
        page = "".join(row.format(case, engine, seconds) for case, _ in overview.CASES
                       for engine, seconds in (("precis int8", "1.000"), ("openvino bf16-w8", "4.000")))
        chart = overview.draw(page)
        widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="14"', chart)]
        self.assertEqual(len(widths), 6)
        self.assertAlmostEqual(widths[1] / widths[0], 4, places=1)
        self.assertEqual(chart.count(">4.00<"), 3)

    def test_a_page_that_lacks_a_case_gets_no_chart(self):
        self.assertIsNone(overview.draw("| t5-base | 1 x 1 | precis int8 | 1.000 | 0 |\n"))

    def test_the_readme_takes_its_figures_from_the_measured_pages(self):
        (bullet,) = re.findall(r"^- \*\*Fast on CPUs\.\*\*.*?(?=^- )", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        pages = self.PAGE.read_text() + self.PAGE.with_name("compare_bart.md").read_text()
        ratios = re.findall(r"^\| (?:t5-base|distilbart-cnn-12-6) \| (?:int8|bf16) \|(.*)\|$", pages, re.MULTILINE)
        measured = {cell.strip() for row in ratios for cell in row.split("|")}
        said = set(re.findall(r"\d+\.\d+", bullet))
        self.assertGreaterEqual(len(said), 3)
        self.assertLessEqual(said, measured)


class Peers(unittest.TestCase):
    """bench/peers/peers.py without an engine: the ids that are sent, and the tokenizer that a converter asks for."""

    T5 = {"model_type": "t5", "eos_token_id": 1}
    BART = {"model_type": "bart", "bos_token_id": 0, "eos_token_id": 2, "vocab_size": 600}

    def test_documents_stand_between_the_ids_of_their_family(self):
        for config, first, last in ((self.T5, None, 1), (self.BART, 0, 2)):
            rows = peers.sources(config, 3, 20)
            self.assertEqual([len(row) for row in rows], [20] * 3)
            self.assertEqual({row[-1] for row in rows}, {last})
            inner = [i for row in rows for i in row[0 if first is None else 1:-1]]
            self.assertTrue(all(peers.LOWEST_ID <= i <= peers.HIGHEST_ID for i in inner))
            if first is not None:
                self.assertEqual({row[0] for row in rows}, {first})

    def test_a_bart_gets_a_piece_for_each_row(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "config.json").write_text(json.dumps(self.BART))
            peers.add_tokenizer(folder, "not/asked/for")
            pieces = json.loads((pathlib.Path(folder) / "vocab.json").read_text())
        self.assertEqual([pieces[p] for p in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")], [0, 1, 2, 3, 600])
        self.assertEqual(sorted(pieces.values()), list(range(601)))


class Traces(unittest.TestCase):
    def test_the_file_is_the_trace_that_is_built_in(self):
        source = (ROOT / "tools/bench/work_trace.cc").read_text()
        built_in = [tuple(map(int, pair)) for pair in re.findall(r"\{(\d+), (\d+)\}", source)]
        self.assertEqual(report.read_trace(ROOT / "bench/comparison/trace.csv"), built_in)

    def test_a_summary_is_as_long_as_the_first_paragraph(self):
        text = "one two three four five six seven eight nine ten\n\n" + "word " * 30
        self.assertEqual(trace_script.lengths_of(text, lambda part: len(part.split()), 1024), (41, 10))
        self.assertEqual(trace_script.lengths_of(text, lambda part: len(part.split()), 32), (32, 10))
        self.assertIsNone(trace_script.lengths_of("too short", lambda part: len(part.split()), 1024))

    def test_a_spread_has_short_and_long_documents(self):
        kept = trace_script.spread([(length, 8) for length in range(1000)], 4, 1)
        self.assertEqual(sorted(kept), [(125, 8), (375, 8), (625, 8), (875, 8)])


if __name__ == "__main__":
    unittest.main()
