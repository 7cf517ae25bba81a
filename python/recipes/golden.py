"""Writes golden.json for a checkpoint, so that `precis verify DIR` can prove that it is served right.

    python golden.py DIR                        writes DIR/golden.json
    python golden.py DIR --texts texts.jsonl    documents of your own: a line is {"text": "..."}, and may name its "id"
    python golden.py DIR --out FILE --max-source-length 512 --prefix "summarize: "

Runs transformers' T5 (or mT5) in float32 on the CPU: encoder output, teacher-forced logits, greedy and beam search,
the latter with the beam options that the checkpoint's own configuration gives.
The format is that of tests/golden/README.md. Text becomes ids by DIR/spiece.model if it is there, else by
tokenizer.json. Needs what requirements.txt beside this file lists.

A grouped checkpoint is given to transformers with its heads repeated. Where heads are assigned as the model runs
(kdgqa, dgqa_diff, dgqa_ema, pgqa) transformers cannot follow, and tests/golden/reference.py is the oracle.
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers

from training import checkpoint, files, folding, grouping

BUILT_IN = [
    "The harbour ferry was late again.",
    "Please move the planning meeting to Thursday at ten. The budget sheet is not ready, and two of the suppliers have "
    "asked for more time. Maria will bring the new schedule, and Tom will call the supplier in Leeds before lunch.",
    "The town council met on Monday evening to decide what should happen to the old railway station. For thirty years "
    "the building has stood empty, and its roof has begun to leak. One group wants to turn it into a library with a "
    "small cafe; another would rather sell the land and mend the school. After two hours nobody had changed their "
    "mind, and the vote was put off until spring.",
    "Café “déjà vu” — naïve ﬁnance, ½ of 12 €/m²; Ｆｕｌｌ width, no-break\tand  two  spaces, 東京 and 😀.",
]
FORCED_STEPS = 16
# How beams are searched where the checkpoint does not say.
BEAM_OPTIONS = {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 3}


def digits(x):
    """Seven significant digits, as nested lists."""
    if isinstance(x, (list, tuple)):
        return [digits(v) for v in x]
    return float(f"{x:.7g}")


class SentencePiece:
    """Text to ids without </s> and back, the way SentencePiece does it."""

    def __init__(self, folder):
        import sentencepiece
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
        self.end = self.pieces.piece_to_id("</s>")
        self.encode = self.pieces.encode

    def decode(self, ids):
        control = (self.pieces.pad_id(), self.pieces.eos_id())
        return self.pieces.decode([i for i in ids if i not in control and i < self.pieces.get_piece_size()])


class Tokenizers:
    def __init__(self, folder):
        from tokenizers import Tokenizer
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.end = self.tokenizer.token_to_id("</s>")
        self.decode = self.tokenizer.decode

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def make_tokenizer(folder):
    return (SentencePiece if (folder / "spiece.model").exists() else Tokenizers)(folder)


def load_transformers(folder, config):
    classes = {"t5": transformers.T5ForConditionalGeneration, "mt5": transformers.MT5ForConditionalGeneration}
    if config.get("model_type") not in classes:
        sys.exit(f"{folder}/config.json: model_type {config.get('model_type')} is neither t5 nor mt5")
    kind = classes[config["model_type"]]
    if config.get("attention_variant", "mha") == "mha":
        model = kind.from_pretrained(folder, torch_dtype=torch.float32).eval()
    else:
        config, tensors = folding.head_repeated(config, checkpoint.read_tensors(folder))
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / "repeated"
            checkpoint.write(made, tensors, config, folder, torch.float32)
            model = kind.from_pretrained(made, torch_dtype=torch.float32).eval()
    # What the checkpoint asks for by default must not mix into the options that golden.json names.
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=config["decoder_start_token_id"], eos_token_id=config["end_token_ids"] or None,
        pad_token_id=config["pad_token_id"])
    return model


class Transformers:
    """The oracle for every grouping that is fixed at load."""

    def __init__(self, folder, config):
        self.model, self.ends = load_transformers(folder, config), config["end_token_ids"]
        self.source = f"transformers {transformers.__version__}"
        # transformers sizes its cache by the encoder's depth, and fails where the decoder is deeper
        deeper = self.model.config.num_decoder_layers > self.model.config.num_layers
        self.how = {"do_sample": False, "use_cache": not deeper, "return_dict_in_generate": True}

    def forced(self, ids, decoder_ids):
        """Encoder output [S, D] and logits [T, V]."""
        out = self.model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([decoder_ids]))
        return out.encoder_last_hidden_state[0], out.logits[0]

    def _generate(self, ids, **options):
        batch = torch.tensor([ids])
        return self.model.generate(input_ids=batch, attention_mask=torch.ones_like(batch), **self.how, **options)

    def greedy(self, ids, options):
        """Ids and the smallest gap between the two best logits of a step."""
        out = self._generate(ids, num_beams=1, output_logits=True, **options)
        gaps = [top[0] - top[1] for top in (step[0].float().topk(2).values.tolist() for step in out.logits)]
        return trim(out.sequences[0], self.ends), min(gaps)

    def beams(self, ids, options):
        out = self._generate(ids, output_scores=True, **options)
        return [trim(s, self.ends) for s in out.sequences], out.sequences_scores.tolist()


class Reference:
    """The oracle for groupings that follow the keys, or add noise, as the model runs."""

    source = "reference.py"

    def __init__(self, folder, _):
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "golden"))
        import reference
        self.model = reference.Reference(folder)

    def forced(self, ids, decoder_ids):
        return self.model.encode([ids])[0], self.model.logits([ids], [decoder_ids])[0]

    def greedy(self, ids, options):
        return self.model.greedy(ids, **options)

    def beams(self, ids, options):
        return self.model.beam_search(ids, **options)[:2]


def make_oracle(folder, config):
    as_it_runs = config.get("attention_variant", "mha") in grouping.KEY_DRIVEN + ("pgqa",)
    return (Reference if as_it_runs else Transformers)(folder, config)


def beam_options_of(folder, config, max_new_tokens):
    """The checkpoint's own, from where precis-server takes its defaults; four beams where it wants one."""
    path = folder / "generation_config.json"
    generation = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    options = dict(BEAM_OPTIONS)
    for said in (checkpoint.summarization_of(config), generation):  # of two, the latter wins
        options |= {k: said[k] for k in BEAM_OPTIONS if said.get(k) is not None}
    if options["num_beams"] < 2:
        options["num_beams"] = BEAM_OPTIONS["num_beams"]
    return options | {"max_length": max_new_tokens + 1}


def trim(ids, ends):
    """Cuts what generate() fills up after the first end."""
    ids = [int(i) for i in ids]
    return ids[:next((n + 1 for n, i in enumerate(ids) if n > 0 and i in ends), len(ids))]


def encoder_summary(x):
    ends = {n: {"position": i, "head8": digits(x[i, :8].tolist()), "tail8": digits(x[i, -8:].tolist())}
            for n, i in (("first", 0), ("middle", len(x) // 2), ("last", len(x) - 1))}
    return {"shape": list(x.shape), **ends, "mean": digits(x.mean().item()), "abs_mean": digits(x.abs().mean().item())}


class CaseMaker:
    def __init__(self, oracle, config, tokenizer, args):
        self.oracle, self.tokenizer, self.args = oracle, tokenizer, args
        self.beam_options = beam_options_of(args.dir, config, args.max_new_tokens)
        self.vocabulary = config["vocab_size"]

    def make(self, name, text):
        length = self.args.max_source_length
        ids = self.tokenizer.encode(text)[:length - 1] + [self.tokenizer.end]
        greedy_options = {"max_new_tokens": self.args.max_new_tokens}
        greedy_ids, gap = self.oracle.greedy(ids, greedy_options)
        forced = greedy_ids[:FORCED_STEPS]
        encoded, logits = self.oracle.forced(ids, forced)
        best = logits.topk(5)
        rows = {0, len(forced) - 1} if self.vocabulary <= self.args.full_rows_up_to else set()
        sequences, scores = self.oracle.beams(ids, self.beam_options)
        return {
            "name": name, "text": text, "max_source_length": length, "input_ids": ids,
            "encoder_output": encoder_summary(encoded),
            "decoder_input_ids": forced,
            "logits": {"rows": {str(i): digits(logits[i].tolist()) for i in sorted(rows)},
                       "top5_ids": best.indices.tolist(), "top5_values": digits(best.values.tolist())},
            "greedy_options": greedy_options, "greedy_ids": greedy_ids, "greedy_min_gap": digits(gap),
            "greedy_more": [],
            "beams": [{"options": self.beam_options, "sequences": sequences, "scores": digits(scores),
                       "summary": self.tokenizer.decode(sequences[0])}],
            "summary": self.tokenizer.decode(greedy_ids),
        }


def write(path, golden):
    """One line per case member, so that a diff stays readable and the file small."""
    lines = [f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in golden.items() if k != "cases"]
    cases = ["  {\n" + ",\n".join(f"   {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in c.items())
             + "\n  }" for c in golden["cases"]]
    files.replace_text(path, "{\n" + ",\n".join(lines) + ',\n "cases": [\n' + ",\n".join(cases) + "\n ]\n}\n")


def read_texts(path):
    """(name, text) of every document."""
    rows = [{"text": text} for text in BUILT_IN]
    if path is not None:
        rows = files.read_jsonl(path, ("text",))
    return [(row.get("id", f"text_{n}"), row["text"]) for n, row in enumerate(rows, 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--texts", type=Path, help="JSON lines with a member 'text'; else a few built-in samples")
    parser.add_argument("--out", type=Path, help="default: DIR/golden.json")
    parser.add_argument("--prefix", help="default: task_specific_params.summarization.prefix of config.json, or none")
    parser.add_argument("--max-source-length", type=int, default=512)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--full-rows-up-to", type=int, default=8192,
                        help="vocabularies larger than this get only the five best logits a step")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    config = checkpoint.read_config(args.dir)
    oracle = make_oracle(args.dir, config)
    maker = CaseMaker(oracle, config, make_tokenizer(args.dir), args)
    prefix = checkpoint.prefix_of(config, args.prefix)
    cases = []
    for name, text in read_texts(args.texts):
        cases.append(maker.make(name, prefix + text))
        print(f"{cases[-1]['name']}: {len(cases[-1]['input_ids'])} source tokens, "
              f"{len(cases[-1]['greedy_ids'])} greedy, smallest gap {cases[-1]['greedy_min_gap']}", flush=True)
    out = args.out or args.dir / "golden.json"
    write(out, {"format": 1, "fixture": args.dir.resolve().name, "source": oracle.source,
                "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
                "margins": {"greedy": min(c["greedy_min_gap"] for c in cases)}, "batches": [], "cases": cases})
    print(f"{out}: {len(cases)} cases")


if __name__ == "__main__":
    main()
