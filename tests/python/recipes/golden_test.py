"""golden.py: transformers with repeated heads and the reference agree, and a file of it is well formed."""
import contextlib
import io
import json
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import recipes_testing

recipes_testing.need("torch", "transformers", "safetensors", "numpy", "sentencepiece")

import torch

import golden
from goldens import oracle
from training import checkpoint, text, vocabulary

torch.set_num_threads(1)
LAYOUTS = ("saved_5", "saved_4", "torch_save", "torch_save_legacy")
IDS = [6, 30, 22, 171, 44, 5, 1]


class Golden(unittest.TestCase):
    def setUp(self):
        torch.set_grad_enabled(False)
        self.addCleanup(torch.set_grad_enabled, True)

    def test_repeated_heads_answer_as_the_reference(self):
        for name in ("wgqa_g2", "qcqa"):
            with self.subTest(name):
                folder = recipes_testing.FIXTURES / name
                config = checkpoint.read_config(folder)
                one, two = (kind(folder, config) for kind in (oracle.Transformers, oracle.Reference))
                for a, b in zip(one.forced(IDS, [0, 9, 8]), two.forced(IDS, [0, 9, 8])):
                    self.assertLess((a - b).abs().max().item(), 1e-4)
                options = {"max_new_tokens": 8}
                self.assertEqual(one.greedy(IDS, options)[0], two.greedy(IDS, options)[0])
                options = {"num_beams": 3, "max_length": 9, "length_penalty": 2.0, "early_stopping": True}
                self.assertEqual(one.beams(IDS, options)[0], two.beams(IDS, options)[0])

    def test_heads_that_follow_keys_are_left_to_the_reference(self):
        folder = recipes_testing.FIXTURES / "kdgqa_g2"
        self.assertEqual(oracle.make_oracle(folder, checkpoint.read_config(folder)).source, "reference.py")

    def answers(self, folder, case):
        """What the oracle and the tokenizer of a folder make of a case: ids of the text, logits, greedy, defaults."""
        config = oracle.read_settings(folder)
        model, words = oracle.make_oracle(folder, config), vocabulary.make_tokenizer(folder, config)
        ids = text.within(words, case["text"], case["max_source_length"])
        top = model.forced(ids, case["decoder_input_ids"])[1].topk(5).values
        return ids, top, model.greedy(ids, case["greedy_options"])[0], words.decode(case["greedy_ids"])

    def test_every_family_answers_as_its_fixture_says(self):
        names = ["umt5", "byt5", "mt5_several_ends", *(f"bart_layouts/{n}" for n in LAYOUTS),
                 *(f"bart_{v}_g2" for v in ("gqa", "wgqa", "colwgqa", "rowwgqa"))]
        for name in names:
            with self.subTest(name):
                folder = recipes_testing.FIXTURES / "families" / name
                case = next(c for c in checkpoint.read_json(folder / "golden.json")["cases"] if "text" in c)
                ids, top, greedy_ids, summary = self.answers(folder, case)
                self.assertEqual(ids, case["input_ids"])
                self.assertLess((top - torch.tensor(case["logits"]["top5_values"])).abs().max().item(), 1e-4)
                self.assertEqual(greedy_ids, case["greedy_ids"])
                self.assertEqual(summary, case["summary"])

    def test_a_text_that_spells_a_special_token_stays_text(self):
        folder = recipes_testing.FIXTURES / "families" / "bart_layouts" / "saved_5"
        words = vocabulary.make_tokenizer(folder, oracle.read_settings(folder))
        self.assertEqual((words.before, words.after), ([0], [2]))
        self.assertNotIn(2, words.encode("a </s> b"))

    def test_what_the_checkpoint_forces_is_in_every_run(self):
        folder = recipes_testing.FIXTURES / "families" / "bart_layouts"
        forced = {"forced_bos_token_id": 0, "forced_eos_token_id": 2}
        for name in LAYOUTS:
            config = oracle.read_settings(folder / name)
            self.assertEqual(golden.forced_of(folder / name, config), forced)
            wanted = golden.BEAM_OPTIONS | forced | {"min_length": 12, "max_length": 41}
            self.assertEqual(golden.beam_options_of(folder / name, config, 40), wanted)
            self.assertNotIn("min_length", golden.beam_options_of(folder / name, config, 11))

    def test_generate_s_own_defaults_are_written_if_asked_for(self):
        folder = recipes_testing.FIXTURES / "families" / "bart_layouts" / "saved_5"
        wanted = checkpoint.read_json(folder / "golden.json")
        with tempfile.TemporaryDirectory() as place:
            texts, out = Path(place) / "texts.jsonl", Path(place) / "golden.json"
            texts.write_text(json.dumps({"text": wanted["cases"][0]["text"]}) + "\n")
            words = ["golden.py", str(folder), "--texts", str(texts), "--out", str(out), "--max-new-tokens", "3",
                     "--defaults"]
            with mock.patch("sys.argv", words), contextlib.redirect_stdout(io.StringIO()):
                golden.main()
            made = json.loads(out.read_text())
        self.assertEqual(made["default_options"], wanted["default_options"])
        self.assertEqual(made["default_options"]["min_length"], 12)
        self.assertEqual(made["cases"][0]["defaults"]["sequences"], wanted["cases"][0]["defaults"]["sequences"])

    def test_what_is_no_encoder_decoder_is_named(self):
        with tempfile.TemporaryDirectory() as place:
            for kind in ("gpt2", "no_such_family"):
                (Path(place) / "config.json").write_text(json.dumps({"model_type": kind}))
                with self.assertRaisesRegex(SystemExit, f"config.json: model_type {kind}: .*no encoder-decoder"):
                    oracle.read_settings(Path(place))

    def test_texts_that_cannot_be_read_are_named_by_their_line(self):
        with tempfile.TemporaryDirectory() as folder:
            texts = Path(folder) / "texts.jsonl"
            for said, wrong in {":1: no JSON": "plain text\n", ":2: 'text' is no text": '{"text": "a"}\n{"document": "b"}\n',
                                ": no texts": "\n"}.items():
                texts.write_text(wrong)
                with self.assertRaisesRegex(SystemExit, re.escape(f"{texts}{said}")):
                    golden.read_texts(texts)
            texts.write_text('{"id": "mine", "text": "a"}\n\n{"text": "b"}\n')
            self.assertEqual(golden.read_texts(texts), [("mine", "a"), ("text_2", "b")])

    def test_a_file_names_its_oracle_and_its_cases(self):
        folder = recipes_testing.FIXTURES / "wgqa_g2"
        with tempfile.TemporaryDirectory() as place:
            texts, out = Path(place) / "texts.jsonl", Path(place) / "golden.json"
            texts.write_text('{"text": "The harbour ferry was late again."}\n{"id": "gulls", "text": "Gulls cry."}\n')
            words = ["golden.py", str(folder), "--texts", str(texts), "--out", str(out), "--max-new-tokens", "4"]
            with mock.patch("sys.argv", words), contextlib.redirect_stdout(io.StringIO()):
                golden.main()
            made = json.loads(out.read_text())
        self.assertTrue(made["source"].startswith("transformers "))
        self.assertEqual([c["name"] for c in made["cases"]], ["text_1", "gulls"])
        pieces = text.read_pieces(folder)
        for case in made["cases"]:
            best = case["beams"][0]
            for ids, summary in ((case["greedy_ids"], case["summary"]), (best["sequences"][0], best["summary"])):
                self.assertEqual(summary, pieces.decode([i for i in ids if 1 < i < pieces.get_piece_size()]))

    def test_beams_are_searched_as_the_checkpoint_says(self):
        task = {"task_specific_params": {"summarization": {"num_beams": 6, "length_penalty": 0.6, "early_stopping": None}}}
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            self.assertEqual(golden.beam_options_of(folder, {}, 48), golden.BEAM_OPTIONS | {"max_length": 49})
            said = golden.beam_options_of(folder, task, 48)
            self.assertEqual((said["num_beams"], said["length_penalty"], said["early_stopping"]), (6, 0.6, True))
            (folder / "generation_config.json").write_text('{"num_beams": 1, "length_penalty": null}')
            said = golden.beam_options_of(folder, task, 48)
            self.assertEqual((said["num_beams"], said["length_penalty"]), (4, 0.6))  # one beam searches nothing


if __name__ == "__main__":
    recipes_testing.main()
