"""The recipes' T5 computes what tests/golden/reference.py does, for every grouping and with padding."""
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import recipes_testing

recipes_testing.need("torch", "safetensors", "numpy", "sentencepiece", "tqdm")

import torch
from reference import Reference, counter_uniform

from evaluation import local
import average
from training import checkpoint, conversion, families, folding, grouping, model

torch.set_num_threads(1)
NEAR = 5e-5  # logits of the fixtures are of size 10
NAMES = sorted(p.parent.name for p in recipes_testing.FIXTURES.glob("*/golden.json"))


def case_of(name, number=0):
    golden = json.loads((recipes_testing.FIXTURES / name / "golden.json").read_text())
    case = golden["cases"][number]
    return torch.tensor([case["input_ids"]]), torch.tensor([case["decoder_input_ids"]]), case


def load(name):
    return checkpoint.load(recipes_testing.FIXTURES / name).eval()


class Model(unittest.TestCase):
    def setUp(self):
        torch.set_grad_enabled(False)
        self.addCleanup(torch.set_grad_enabled, True)

    def test_every_variant_has_a_fixture(self):
        configs = [checkpoint.read_config(recipes_testing.FIXTURES / n) for n in NAMES]
        self.assertEqual({c.get("attention_variant", "mha") for c in configs}, set(grouping.VARIANTS))

    def test_logits_are_the_reference_s(self):
        for name in NAMES:
            with self.subTest(name):
                ids, forced, case = case_of(name)
                seed = case["greedy_options"].get("noise_seed", 0)
                wanted = Reference(recipes_testing.FIXTURES / name).logits(ids, forced, seed=seed)
                got = load(name)(ids, torch.ones_like(ids), forced, seed)
                self.assertLess((got - wanted).abs().max().item(), NEAR)

    def test_an_mt5_is_never_scaled_and_ends_where_its_own_file_says(self):
        name = "families/mt5_several_ends"
        ids, forced, case = case_of(name)
        t5 = load(name)
        self.assertEqual((t5.config["decoder_start_token_id"], t5.config["end_token_ids"]), (2, [1, 44, 171]))
        logits = t5(ids, torch.ones_like(ids), forced)[0]
        wanted = torch.tensor(case["logits"]["top5_values"])
        self.assertLess((logits.topk(5).values - wanted).abs().max().item(), NEAR)
        for said in ({"tie_word_embeddings": True}, {"scale_decoder_outputs": True}, {}):
            self.assertFalse(model.scales_output({"model_type": "mt5", **said}))
        said = [{}, {"tie_word_embeddings": None}, {"tie_word_embeddings": False}, {"scale_decoder_outputs": None},
                {"tie_word_embeddings": False, "scale_decoder_outputs": True}]
        self.assertEqual([model.scales_output({"model_type": "t5", **s}) for s in said], [True, True, False, False, True])

    def test_greedy_stops_at_every_end(self):
        name = "families/mt5_several_ends"
        cases = json.loads((recipes_testing.FIXTURES / name / "golden.json").read_text())["cases"]
        t5, lasts = load(name), set()
        for case in cases:
            ids = torch.tensor([case["input_ids"]])
            got = local.greedy(t5, ids, torch.ones_like(ids), 40)[0]
            self.assertEqual(got, case["greedy_ids"][1:-1])
            lasts.add(case["greedy_ids"][-1])
        self.assertGreater(len(lasts), 1)

    def test_embeddings_that_differ_are_refused(self):
        with self.assertRaisesRegex(SystemExit, "encoder.embed_tokens.weight and decoder.embed_tokens.weight"):
            load("families/untied_embeddings")

    def test_an_embedding_under_any_name_is_taken_as_the_server_does(self):
        cases = json.loads((recipes_testing.ROOT / "tests/engine/model/embedding_ties.json").read_text())
        for case in cases:
            family = families.FAMILIES.get(case["model_type"], families.T5)  # umT5 has T5's names
            tensors = {name: torch.full((3, 2), value) for name, value in case["values"].items()}
            bart = family is families.Bart
            differ = len(set(case["values"].values())) > 1 if bart else case["encoder"] != case["decoder"]
            if differ:  # one matrix is trained: BART's for all three uses
                with self.assertRaises(SystemExit):
                    family.tied(case, tensors, "x")
                continue
            if bart:
                case = case | {"vocab_size": 3}
            got = family.tied(case, tensors, "x")
            shared = got["model.shared.weight" if bart else "shared.weight"]
            self.assertEqual(shared[0, 0], case["encoder"])
            self.assertEqual(got.get("lm_head.weight", shared)[0, 0], case["lm_head"])

    def test_absent_keys_are_those_of_the_family(self):
        with tempfile.TemporaryDirectory() as place:
            for family, sizes in (("t5", (32128, 2048, 6, 6, 8)), ("mt5", (250112, 1024, 8, 8, 6))):
                (Path(place) / "config.json").write_text(json.dumps({"model_type": family}))
                config = checkpoint.read_config(place)
                keys = ("vocab_size", "d_ff", "num_layers", "num_decoder_layers", "num_heads")
                self.assertEqual(tuple(config[k] for k in keys), sizes)
                self.assertEqual(config["feed_forward_proj"], {"t5": "relu", "mt5": "gated-gelu"}[family])
                self.assertEqual((config["decoder_start_token_id"], config["end_token_ids"]), (0, [1]))

    def test_a_smoothed_loss_gives_every_piece_its_share(self):
        ids, forced, _ = case_of("wgqa_g2")
        model, mask, share = load("wgqa_g2"), torch.ones_like(ids), 0.2
        labels = torch.cat([forced[:, 1:], torch.full_like(forced[:, :1], -100)], 1)
        logs = model(ids, mask, forced).log_softmax(-1)[0, :-1]
        plain = -logs.gather(-1, forced[0, 1:, None]).mean()
        got, count = model.loss(ids, mask, labels, smoothing=share)
        self.assertAlmostEqual(got.item(), ((1 - share) * plain - share * logs.mean()).item(), places=4)
        self.assertAlmostEqual(model.loss(ids, mask, labels)[0].item(), plain.item(), places=4)
        self.assertEqual(count, forced.shape[1] - 1)

    def test_padding_and_neighbours_change_nothing(self):
        for name in ("wgqa_g2", "kdgqa_g4", "dgqa_ema_g2", "pgqa_g2"):
            with self.subTest(name):
                model, (ids, forced, _) = load(name), case_of(name)
                other = case_of(name, 1)[0]
                width = max(ids.shape[1], other.shape[1]) + 3
                rows = [torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in (ids, other)]
                mask = torch.stack([(torch.arange(width) < x.shape[1]).long() for x in (ids, other)])
                alone = model(ids, torch.ones_like(ids), forced)
                together = model(torch.cat(rows), mask, forced.expand(2, -1))[:1]
                self.assertLess((alone - together).abs().max().item(), NEAR)

    def test_greedy_ids_are_the_golden_ones(self):
        for name in ("wgqa_g2", "kdgqa_g4", "pgqa_g2"):
            with self.subTest(name):
                ids, _, case = case_of(name)
                options = case["greedy_options"]
                made = local.greedy(load(name), ids, torch.ones_like(ids), options["max_new_tokens"],
                                    options.get("noise_seed", 0))
                self.assertEqual(made[0], [t for t in case["greedy_ids"][1:] if t != 1])

    def test_the_noise_is_the_documented_one(self):
        drawn = grouping.uniforms(20240917, 1, "cross", 4, 18, 16)
        self.assertEqual(drawn[3, 17, 15].item(), 3054435 * 2**-24)
        self.assertEqual(drawn[2, 5, 7].item(), counter_uniform(20240917, 1, 1, 2, 5, 7))

    def test_norms_that_say_nothing_are_an_even_split(self):
        for variant, cached in (("kdgqa", None), ("dgqa_diff", torch.ones(3))):
            made = grouping.key_driven_map(variant, torch.ones(1, 3), 8, cached)
            self.assertEqual(made.tolist(), [[0, 0, 0, 1, 1, 1, 2, 2]])


class Bart(unittest.TestCase):
    """BART's model against goldens whose K and V were combined unfolded, and what files of it may look like."""

    GROUPED = [f"families/bart_{v}_g2" for v in ("gqa", "wgqa", "colwgqa", "rowwgqa")]
    LAYOUTS = [f"families/bart_layouts/{n}" for n in ("saved_5", "saved_4", "torch_save", "torch_save_legacy")]

    def setUp(self):
        torch.set_grad_enabled(False)
        self.addCleanup(torch.set_grad_enabled, True)
        self.folder = recipes_testing.FIXTURES / self.LAYOUTS[0]
        self.config, self.tensors = checkpoint.read_config(self.folder), checkpoint.read_tensors(self.folder)

    def logits(self, tensors, config):
        ids, forced, _ = case_of(self.LAYOUTS[0])
        return checkpoint.build(config, tensors, "made").eval()(ids, torch.ones_like(ids), forced)

    def test_logits_are_the_golden_ones(self):
        for name in self.GROUPED + self.LAYOUTS:
            for number in (0, 2):
                with self.subTest(name, number=number):
                    ids, forced, case = case_of(name, number)
                    got = load(name)(ids, torch.ones_like(ids), forced)[0]
                    wanted = torch.tensor(case["logits"]["top5_values"])
                    self.assertLess((got.topk(5).values - wanted).abs().max().item(), NEAR)
                    self.assertEqual(got.topk(5).indices.tolist(), case["logits"]["top5_ids"])

    def test_padding_and_neighbours_change_nothing(self):
        model, (ids, forced, _) = load(self.GROUPED[1]), case_of(self.GROUPED[1], 1)
        padded = torch.nn.functional.pad(ids, (0, 5))
        mask = (torch.arange(padded.shape[1]) < ids.shape[1]).long()[None]
        alone, together = model(ids, torch.ones_like(ids), forced), model(padded, mask, forced)
        self.assertLess((alone - together).abs().max().item(), NEAR)

    def test_a_fold_answers_as_what_it_was_made_of(self):
        for name in self.GROUPED:
            folder = recipes_testing.FIXTURES / name
            config, tensors = folding.head_repeated(checkpoint.read_config(folder), checkpoint.read_tensors(folder))
            self.assertEqual(config["attention_variant"], "mha")
            ids, forced, _ = case_of(name, 1)
            got, wanted = (m.eval()(ids, torch.ones_like(ids), forced)
                           for m in (checkpoint.build(config, tensors, "folded"), load(name)))
            self.assertLess((got - wanted).abs().max().item(), NEAR)

    def test_biases_of_a_group_are_merged_as_its_heads_are(self):
        bias, groups = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 9.0]]), [[0, 1], [2, 3]]
        scalar = torch.tensor([[2.0], [-1.0], [0.5], [3.0]])
        column = torch.tensor([[1.0, 0.0], [2.0, 10.0], [0.0, 1.0], [1.0, -1.0]])
        for learned, rows, wanted in ((None, False, [2.0, 3.0, 6.0, 7.5]), (scalar, False, [-1.0, 0.0, 23.5, 30.0]),
                                      (column, False, [7.0, 40.0, 7.0, -3.0]), (column, True, [2.0, 3.0, 6.0, 7.5])):
            self.assertEqual(grouping.fold_bias(bias, groups, learned, rows).tolist(), wanted)

    def test_groupings_start_at_the_mean(self):
        tensors, config = conversion.convert(self.tensors, self.config, "gqa", 2)
        name = "model.decoder.layers.0.encoder_attn.v_proj.bias"
        wanted = self.tensors[name].view(2, 2, -1).mean(1).flatten()
        self.assertTrue(torch.allclose(tensors[name], wanted))
        gqa = self.logits(tensors, config)
        self.assertGreater((gqa - self.logits(self.tensors, self.config)).abs().max().item(), 0.1)
        for variant in grouping.WEIGHTED:
            tensors, config = conversion.convert(self.tensors, self.config, variant, 2)
            self.assertEqual(len(tensors) - len(self.tensors), 4)
            self.assertLess((self.logits(tensors, config) - gqa).abs().max().item(), NEAR)

    def test_groupings_that_follow_keys_are_refused(self):
        for variant in (*grouping.KEY_DRIVEN, "pgqa"):
            with self.assertRaisesRegex(SystemExit, f"^--variant {variant} .* have biases"):
                conversion.convert(self.tensors, self.config, variant, 2)
            with tempfile.TemporaryDirectory() as place:
                said = {**checkpoint.read_json(self.folder / "config.json"), "attention_variant": variant}
                (Path(place) / "config.json").write_text(json.dumps(said))
                with self.assertRaisesRegex(SystemExit, f"config.json: attention_variant: {variant} .* have biases"):
                    checkpoint.read_config(place)

    def test_names_without_a_prefix_are_known_and_other_embeddings_are_not(self):
        short = {n.removeprefix("model."): t for n, t in self.tensors.items() if n != "lm_head.weight"}
        short["encoder.version"] = torch.tensor(3.0)
        self.assertTrue(torch.equal(self.logits(short, self.config), self.logits(self.tensors, self.config)))
        tensors, config = conversion.convert(short, self.config, "wgqa", 2)
        self.assertEqual(config["attention_variant"], "wgqa")
        self.assertIn("model.decoder.layers.0.self_attn.wk1", tensors)
        other = {**self.tensors, "lm_head.weight": self.tensors["model.shared.weight"] + 1}
        with self.assertRaisesRegex(SystemExit, "model.shared.weight and lm_head.weight differ"):
            self.logits(other, self.config)

    def test_a_config_that_cannot_be_is_named(self):
        for wrong, reason in (({"decoder_attention_heads": 5}, "decoder_attention_heads: 5 heads do not divide"),
                              ({"activation_function": "swish"}, "activation_function: swish is none of gelu"),
                              ({"encoder_layers": 0}, "encoder_layers: 0")):
            with tempfile.TemporaryDirectory() as place:
                (Path(place) / "config.json").write_text(json.dumps({"model_type": "bart", **wrong}))
                with self.assertRaisesRegex(SystemExit, f"config.json: {reason}"):
                    checkpoint.read_config(place)

    def test_what_is_written_is_what_transformers_reads(self):
        with tempfile.TemporaryDirectory() as place:
            tensors, config = conversion.convert(self.tensors, self.config, "rowwgqa", 2)
            checkpoint.write(Path(place) / "made", tensors, config, self.folder, torch.float32)
            said = checkpoint.read_json(Path(place) / "made" / "config.json")
            again = self.logits(checkpoint.read_tensors(Path(place) / "made"), checkpoint.read_config(Path(place) / "made"))
            self.assertTrue((Path(place) / "made" / "tokenizer.json").exists())
        self.assertEqual(set(families.Bart.derived) & set(said), set())
        self.assertEqual((said["attention_variant"], said["num_key_value_heads"]), ("rowwgqa", 2))
        self.assertTrue(torch.equal(again, self.logits(tensors, config)))


class Dropout(unittest.TestCase):
    def test_its_share_is_gone_and_the_mean_stays(self):
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.ones(301, 1001, dtype=dtype)  # an odd number of elements
            made = model.drop(x, 0.1, True)
            self.assertEqual(made.shape, x.shape)
            gone = (made == 0).float()
            self.assertAlmostEqual(gone.mean().item(), 26 / 256, delta=0.003)
            self.assertAlmostEqual(made.float().mean().item(), 1.0, delta=0.005)
            self.assertLess(max(gone.mean(0).max().item(), gone.mean(1).max().item()), 0.2)  # in no row or column

    def test_what_is_gone_has_no_gradient(self):
        x = torch.randn(64, 64, requires_grad=True)
        made = model.drop(x, 0.5, True)
        made.sum().backward()
        self.assertTrue(torch.equal(x.grad, (made != 0) * 2.0))

    def test_it_follows_the_seed_and_only_training_has_it(self):
        x = torch.randn(32, 32)
        torch.manual_seed(1)
        first, second = model.drop(x, 0.1, True), model.drop(x, 0.1, True)
        torch.manual_seed(1)
        self.assertTrue(torch.equal(model.drop(x, 0.1, True), first))
        self.assertFalse(torch.equal(first, second))
        self.assertIs(model.drop(x, 0.1, False), x)


class Average(unittest.TestCase):
    def average(self, folder, *words):
        with mock.patch("sys.argv", ["average.py", str(folder), *map(str, words)]), \
                contextlib.redirect_stdout(io.StringIO()):
            average.main()
        return checkpoint.read_tensors(folder)

    def test_weights_are_weighed(self):
        one = recipes_testing.FIXTURES / "wgqa_g2"
        tensors, config = checkpoint.read_tensors(one), checkpoint.read_config(one)
        with tempfile.TemporaryDirectory() as place:
            place = Path(place)
            checkpoint.write(place / "two", {n: t + 1 for n, t in tensors.items()}, config, one, torch.float32)
            made = self.average(place / "made", one, place / "two", "--shares", 3, 1)
            self.assertEqual(made.keys(), tensors.keys())
            for name, t in tensors.items():
                wanted = t + 0.25
                self.assertTrue(((made[name] - wanted).abs() <= wanted.abs() / 256).all(), name)  # a bfloat16's rounding
            self.assertTrue((place / "made" / "spiece.model").exists())

    def test_other_architectures_are_named(self):
        with tempfile.TemporaryDirectory() as place, self.assertRaisesRegex(SystemExit, "mqa.*attention_variant"):
            self.average(Path(place) / "made", recipes_testing.FIXTURES / "wgqa_g2", recipes_testing.FIXTURES / "mqa")


class Conversion(unittest.TestCase):
    def setUp(self):
        self.source = recipes_testing.FIXTURES / "t5_v10_relu_tied"
        self.tensors, self.config = checkpoint.read_tensors(self.source), checkpoint.read_config(self.source)
        self.ids, self.forced, _ = case_of("t5_v10_relu_tied")

    def logits(self, tensors, config):
        with torch.no_grad():
            model = checkpoint.build(config, tensors, "made").eval()
            return model(self.ids, torch.ones_like(self.ids), self.forced)

    def converted(self, variant, *words):
        return conversion.convert(self.tensors, self.config, variant, *words)

    def test_weighted_heads_start_at_the_mean(self):
        wanted = self.logits(*self.converted("gqa", 2))
        for variant in grouping.WEIGHTED:
            made = self.converted(variant, 2)
            self.assertLess((self.logits(*made) - wanted).abs().max().item(), NEAR)

    def test_random_weights_differ_from_the_mean(self):
        torch.manual_seed(1)
        made = self.converted("wgqa", 2, "random")
        self.assertGreater((self.logits(*made) - self.logits(*self.converted("wgqa", 2))).abs().max().item(), 0.1)

    def test_a_fold_answers_as_what_it_was_made_of(self):
        for name in ("wgqa_g2", "colwgqa_g2", "rowwgqa_g2", "qcqa", "simgqa_g2", "mqa", "gqa_g2_from_mha"):
            with self.subTest(name), torch.no_grad():
                folder = recipes_testing.FIXTURES / name
                config, tensors = checkpoint.read_config(folder), checkpoint.read_tensors(folder)
                ids, forced, _ = case_of(name)
                plain = checkpoint.build(*folding.head_repeated(config, tensors), "folded").eval()
                got, wanted = plain(ids, torch.ones_like(ids), forced), load(name)(ids, torch.ones_like(ids), forced)
                self.assertLess((got - wanted).abs().max().item(), NEAR)

    def test_what_cannot_be_converted_is_named(self):
        for words, reason in ((("gqa", 3), "--kv-heads 3"), (("wgqa", None), "--kv-heads: wgqa needs it"),
                              (("mqa", 2), "--kv-heads 2: mqa has one")):
            with self.assertRaisesRegex(SystemExit, reason):
                self.converted(*words)

    def test_weights_of_nothing_are_named(self):
        name = "decoder.block.1.layer.1.EncDecAttention.v.weight"
        self.tensors[name].zero_()
        with self.assertRaisesRegex(SystemExit, name):
            self.converted("gqa", 2)

    def test_a_config_without_sizes_is_named(self):
        for wrong, reason in (({"d_kv": 0}, "d_kv: 0"), ({"attention_variant": "best"}, "best is not known")):
            with tempfile.TemporaryDirectory() as place:
                (Path(place) / "config.json").write_text(json.dumps({**self.config, **wrong}))
                with self.assertRaisesRegex(SystemExit, f"config.json: .*{reason}"):
                    checkpoint.read_config(place)

    def test_heads_that_are_not_grouped_once_are_named(self):
        broken = {"qcqa": [[0, 1], [1, 2, 3]], "simgqa": [0, 0, 1, 2]}
        for variant, key in (("qcqa", "head_groups"), ("simgqa", "head_order")):
            layers = {"self": [broken[variant]] * 2, "cross": [broken[variant]] * 2}
            config = {**self.config, "attention_variant": variant, "num_key_value_heads": 2}
            for wrong in ({key: layers}, {}):
                with self.assertRaisesRegex(SystemExit, f"{key}: self, layer 0"):
                    checkpoint.build({**config, **wrong}, self.tensors, "made")
        config = {**self.config, "attention_variant": "gqa", "num_key_value_heads": 3}
        with self.assertRaisesRegex(SystemExit, "num_key_value_heads: 3"):
            checkpoint.build(config, self.tensors, "made")

    def test_a_tensor_of_another_shape_is_named(self):
        name = "encoder.block.0.layer.0.SelfAttention.q.weight"
        for wrong, reason in ((self.tensors[name][1:], "not"), (self.tensors[name] * float("nan"), "not finite")):
            with self.assertRaisesRegex(SystemExit, f"{name}.*{reason}"):
                checkpoint.build(self.config, {**self.tensors, name: wrong}, "made")


if __name__ == "__main__":
    recipes_testing.main()
