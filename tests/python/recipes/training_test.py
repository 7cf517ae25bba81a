"""Training runs: every grouping learns, a killed run ends where an unbroken one does, and bad input is named."""
import csv
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import recipes_testing

recipes_testing.need("torch", "transformers", "safetensors", "numpy", "sentencepiece", "tqdm", "rouge_score")

import numpy as np
import torch

import pretrain
import uptrain
from training import checkpoint, curves, files, grouping, text, trainer, vocabulary

torch.set_num_threads(1)
SOURCE = recipes_testing.FIXTURES / "t5_v10_relu_tied"


class Recipe(unittest.TestCase):
    """A script called as from the command line, in a folder that is gone afterwards."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.place = Path(self.folder.name)
        self.texts = recipes_testing.write_texts(self.place / "texts.jsonl")
        patch = mock.patch.object(curves, "draw")  # a picture takes longer than all the training here
        patch.start()
        self.addCleanup(patch.stop)

    def words(self, run, *more, steps=8):
        return [str(self.place / run), "--train", str(self.texts), "--held-out", str(self.texts), "--steps", str(steps),
                "--tokens", "256", "--log-every", "2", "--save-every", "4", "--compute", "float32", *map(str, more)]

    def call(self, script, words):
        with mock.patch("sys.argv", ["recipe", *words]):
            script.main()


class Training(Recipe):
    def uptrain(self, run, *more, **options):
        self.call(uptrain, self.words(run, "--from", SOURCE, *more, **options))
        return checkpoint.read_tensors(self.place / run / "checkpoint")

    def log(self, run):
        with open(self.place / run / "log.csv", newline="") as f:
            return list(csv.DictReader(f))

    def interrupted(self, run, *more, at=6):
        after = trainer.Run._after_step

        def stop(self, rate, bar):
            done = after(self, rate, bar)
            if self.at["step"] == at:
                raise KeyboardInterrupt
            return done

        with mock.patch.object(trainer.Run, "_after_step", stop), self.assertRaises(KeyboardInterrupt):
            self.uptrain(run, *more)

    def test_every_grouping_learns(self):
        for variant in sorted(set(grouping.VARIANTS) - {"simgqa", "qcqa"}):  # those two need `precis convert`
            with self.subTest(variant):
                heads = () if variant in ("mha", "mqa") else ("--kv-heads", 2)
                made = self.uptrain(variant, "--variant", variant, *heads, "--rate", 0.02, "--average", 0, steps=40)
                losses = [float(r["training_loss"]) for r in self.log(variant)]
                self.assertLess(losses[-1], losses[0] - 0.3)
                config = checkpoint.read_config(self.place / variant / "checkpoint")
                self.assertEqual(config["attention_variant"], variant)
                cached = [t for n, t in made.items() if n.endswith("cached_norm")]
                self.assertEqual(len(cached) > 0, variant in grouping.CACHED)
                self.assertTrue(all((t > 0).all() for t in cached))

    def test_a_bart_learns_in_every_grouping_that_folds(self):
        source = recipes_testing.FIXTURES / "families" / "bart_layouts" / "saved_4"
        how = ("--from", source, "--rate", 0.02, "--average", 0, "--source-length", 32, "--target-length", 16)
        for variant in ("mha", "gqa", "mqa", "wgqa", "colwgqa", "rowwgqa"):
            with self.subTest(variant):
                heads = () if variant in ("mha", "mqa") else ("--kv-heads", 2)
                self.call(uptrain, self.words(variant, "--variant", variant, *heads, *how, steps=40))
                losses = [float(r["training_loss"]) for r in self.log(variant)]
                self.assertLess(losses[-1], losses[0] - 0.3)
                made = checkpoint.read_tensors(self.place / variant / "checkpoint")
                weights = [n for n in made if n.endswith((".wk1", ".wv1"))]
                self.assertEqual(len(weights), 4 if variant in grouping.WEIGHTED else 0)
                for name in weights:  # they are trained, not only written; self_attn's wk1 hardly moves in few steps
                    self.assertTrue((made[name] != 0.5).any(), name)
        with self.assertRaisesRegex(SystemExit, "--source-length 65: the checkpoint has 64 positions"):
            self.call(uptrain, self.words("long", *how, "--source-length", 65))

    def test_found_groups_are_trained_on(self):
        for name in ("simgqa_g2", "qcqa"):
            words = self.words(name, "--from", recipes_testing.FIXTURES / name)
            self.call(uptrain, words)
            made = checkpoint.read_config(self.place / name / "checkpoint")
            before = checkpoint.read_config(recipes_testing.FIXTURES / name)
            self.assertEqual({k: made.get(k) for k in ("head_order", "head_groups")},
                             {k: before.get(k) for k in ("head_order", "head_groups")})

    def test_an_interrupted_run_ends_where_an_unbroken_one_does(self):
        how = ("--variant", "wgqa", "--kv-heads", 2, "--dropout", 0.1, "--optimizer", "muon")
        whole = self.uptrain("whole", *how)
        self.interrupted("broken", *how)
        self.assertFalse((self.place / "broken" / "checkpoint").exists())
        again = self.uptrain("broken", *how)
        self.assertEqual(whole.keys(), again.keys())
        for name in whole:
            self.assertTrue(torch.equal(whole[name], again[name]), name)
        fixed = [{k: v for k, v in r.items() if k != "minutes"} for r in self.log("whole")]
        self.assertEqual(fixed, [{k: v for k, v in r.items() if k != "minutes"} for r in self.log("broken")])

    def test_a_run_may_be_longer_but_not_another(self):
        self.interrupted("run")
        with self.assertRaisesRegex(SystemExit, "begun with another rate"):
            self.uptrain("run", "--rate", 0.1)
        self.uptrain("run", steps=12)
        with self.assertRaisesRegex(SystemExit, "this run is finished"):
            self.uptrain("run", steps=12)

    def test_a_folder_of_somebody_else_is_left_alone(self):
        (self.place / "run").mkdir()
        (self.place / "run" / "thesis.txt").write_text("x")
        with self.assertRaisesRegex(SystemExit, "not empty"):
            self.uptrain("run")
        self.assertEqual([p.name for p in (self.place / "run").iterdir()], ["thesis.txt"])

    def test_a_loss_that_is_no_number_ends_the_run(self):
        nothing = (torch.tensor(float("nan")), 1)
        with mock.patch("training.model.T5.loss", return_value=nothing), self.assertRaisesRegex(SystemExit, "--rate"):
            self.uptrain("run")
        self.assertFalse((self.place / "run" / "checkpoint").exists())

    def test_a_line_that_is_no_text_is_named(self):
        for line, reason in (("{", "2: no JSON"), ('{"document": "x"}', "2: 'summary' is no text"),
                             ('{"document": "x", "summary": " "}', "2: 'summary'"), ("[]", "2: 'document'")):
            self.texts.write_text('{"document": "a", "summary": "b"}\n' + line + "\n")
            with self.assertRaisesRegex(SystemExit, reason):
                self.uptrain("run")
            self.assertFalse((self.place / "run").exists())

    def test_pretraining_starts_from_nothing_and_learns(self):
        self.call(pretrain, self.words("run", "--like", SOURCE, "--optimizer", "muon", "--rate", 0.02, steps=30))
        losses = [float(r["training_loss"]) for r in self.log("run")]
        self.assertLess(losses[-1], losses[0] - 0.3)
        self.assertEqual(checkpoint.read_config(self.place / "run" / "checkpoint")["attention_variant"], "mha")


class Reproduced(Recipe):
    """reproduce.py, the rows that need nothing but PyTorch."""

    def test_a_table_has_a_row_a_grouping_and_is_made_once(self):
        import reproduce
        words = [str(self.place / "out"), "--from", str(SOURCE), "--train", str(self.texts), "--held-out",
                 str(self.texts), "--steps", "2", "--first", "3", "--only", "mha", "rand_wgqa", "mqa", "--compute",
                 "float32"]
        self.call(reproduce, words)
        made = (self.place / "out" / "variants.md").read_text()
        self.assertEqual([line.split("|")[1].strip() for line in made.splitlines()[2:]], ["mha", "rand_wgqa", "mqa"])
        self.assertIn("+0.0 [+0.0, +0.0] |", made.splitlines()[2])
        with mock.patch.object(uptrain, "main", side_effect=AssertionError("trained again")):
            self.call(reproduce, words)
        self.assertEqual(made, (self.place / "out" / "variants.md").read_text())

    def test_bytes_a_token_are_those_of_the_fuller_attention(self):
        import reproduce
        config = {"num_heads": 8, "d_kv": 32, "num_layers": 4, "attention_variant": "gqa", "num_key_value_heads": 2}
        self.assertEqual(reproduce.kv_bytes(config), 1024)
        self.assertEqual(reproduce.kv_bytes({**config, "attention_variant": "mha"}), 4096)


class Batches(unittest.TestCase):
    def setUp(self):
        pieces = text.read_pieces(SOURCE)
        rows = [{"document": f"{d} " * (1 + i % 5), "summary": s} for i, (d, s) in enumerate(recipes_testing.TEXTS * 9)]
        self.config = checkpoint.read_config(SOURCE)
        self.spans = text.Spans(rows, pieces, self.config, 64)
        self.summaries = text.Summaries(rows, vocabulary.SentencePiece(SOURCE), "summarize: ", 32, 16)

    def test_a_corrupted_text_and_its_target_are_the_text(self):
        rng, first = np.random.default_rng(0), self.config["vocab_size"] - 1
        for i, whole in enumerate(self.spans.texts):
            source, target = self.spans.pair(i, rng)
            sentinel = first
            spelled = []
            for t in source[:-1]:
                if t != sentinel:
                    spelled.append(t)
                    continue
                start = target.index(sentinel) + 1
                end = next(j for j in range(start, len(target)) if target[j] in (sentinel - 1, 1))
                spelled += target[start:end]
                sentinel -= 1
            self.assertEqual(spelled, list(whole))
            self.assertAlmostEqual(1 - (len(source) - 1 - (first - sentinel)) / len(whole), 0.15, delta=0.08)

    def test_a_vocabulary_without_room_for_marks_is_named(self):
        rows = [{"document": "a b c d e f g h i", "summary": "b"}]
        config = {**self.config, "vocab_size": text.read_pieces(SOURCE).get_piece_size() + 2}
        with self.assertRaisesRegex(SystemExit, "vocab_size 514: 2 rows .* needs 3"):
            text.Spans(rows, text.read_pieces(SOURCE), config, 64)

    def test_every_text_is_seen_once_an_epoch(self):
        seen = sum(len(b.ids) for b in text.epoch(self.summaries, 128, 3, 0))
        self.assertEqual(seen, len(self.summaries.pairs))

    def test_a_file_that_is_given_twice_counts_twice(self):
        with tempfile.TemporaryDirectory() as place:
            path = recipes_testing.write_texts(Path(place) / "texts.jsonl", count=3)
            self.assertEqual(text.read_all([path, path]), 2 * files.read_jsonl(path))

    def test_sources_and_targets_of_a_batch_are_alike(self):
        rng = np.random.default_rng(0)
        pairs = [([5] * s, [6] * t) for s, t in zip(rng.integers(1, 65, 1000), rng.integers(1, 17, 1000))]
        texts = mock.Mock(pair=lambda i, _: pairs[i], lengths=np.array([len(s) for s, _ in pairs]),
                          target_lengths=np.array([len(t) for _, t in pairs]))
        real = slots = 0
        for b in text.epoch(texts, 512, 0, 0):
            self.assertLessEqual(b.ids.numel(), 512)
            self.assertLessEqual(b.ids.shape[1] - int(b.mask.sum(1).min()), 2 * text.MULTIPLE)
            real, slots = real + int((b.labels >= 0).sum()), slots + b.labels.numel()
        self.assertGreater(real / slots, 0.7)

    def test_batches_depend_on_seed_and_epoch_only(self):
        whole = [b.ids.tolist() for b in text.epoch(self.spans, 128, 3, 1)]
        rest = [b.ids.tolist() for b in text.epoch(self.spans, 128, 3, 1, skip=2)]
        self.assertEqual(whole[2:], rest)
        self.assertNotEqual(whole, [b.ids.tolist() for b in text.epoch(self.spans, 128, 3, 2)])

    def test_sources_and_targets_end_with_the_end(self):
        for source, target in self.summaries.pairs:
            self.assertLessEqual((len(source), len(target)), (32, 16))
            self.assertEqual((source[-1], target[-1]), (1, 1))

    def test_barts_stand_between_its_tokens(self):
        folder = recipes_testing.FIXTURES / "families" / "bart_layouts" / "torch_save"
        words = vocabulary.make_tokenizer(folder, checkpoint.read_config(folder))
        rows = [{"document": "Gulls cry over the pier, and the clerk reads.", "summary": "Gulls."}]
        source, target = text.Summaries(rows, words, "", 12, 16).pairs[0]
        self.assertEqual((len(source), source[0], source[-1], target[0], target[-1]), (12, 0, 2, 0, 2))
        self.assertEqual(words.decode(target), "Gulls.")


if __name__ == "__main__":
    recipes_testing.main()
