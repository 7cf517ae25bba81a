"""Writes golden.json for a checkpoint, so that `precis verify DIR` can prove that it is served right.

    python golden.py DIR                        writes DIR/golden.json
    python golden.py DIR --texts texts.jsonl    documents of your own: a line is {"text": "..."}, and may name its "id"
    python golden.py DIR --out FILE --max-source-length 512 --prefix "summarize: "

Runs the class that transformers has for the checkpoint (T5, mT5, umT5, ByT5, BART, DistilBART) in float32 on the CPU:
encoder output, teacher-forced logits, greedy and beam search, the latter with the beam options that the checkpoint's own
configuration gives. Tokens and words that it forces or forbids are named in every run. --defaults adds generate() with
nothing but the checkpoint's own settings. The format is that of tests/golden/README.md. T5's and its kin's text becomes
ids by DIR/spiece.model if it is there, else by tokenizer.json; that of others by transformers' tokenizer. Needs what
requirements.txt beside this file lists.

A grouped checkpoint is given to transformers with its heads repeated. Where heads are assigned as the model runs
(kdgqa, dgqa_diff, dgqa_ema, pgqa) transformers cannot follow, and tests/golden/reference.py is the oracle.
"""
import argparse
import json
import sys
from pathlib import Path

import torch
import transformers

from goldens.oracle import Transformers, make_oracle, read_settings
from training import checkpoint, files, text
from training.vocabulary import make_tokenizer

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
FORCED = ("forced_bos_token_id", "forced_eos_token_id", "bad_words_ids", "suppress_tokens")
SAID = (*BEAM_OPTIONS, *FORCED, "min_length")  # what a config.json without generation_config.json says itself


def digits(x):
    """Seven significant digits, as nested lists."""
    if isinstance(x, (list, tuple)):
        return [digits(v) for v in x]
    return float(f"{x:.7g}")


def sayings(folder, config):
    """What the checkpoint says of generation, the last of them first heard: where precis-server takes its defaults."""
    path = folder / "generation_config.json"
    generation = checkpoint.read_json(path) if path.exists() else {k: config[k] for k in SAID if k in config}
    return checkpoint.summarization_of(config), generation


def forced_of(folder, config):
    """Options that every run names: tokens and words that the checkpoint forces or forbids."""
    said = {k: v for saying in sayings(folder, config) for k, v in saying.items()}
    return {k: said[k] for k in FORCED if said.get(k) is not None}


def beam_options_of(folder, config, max_new_tokens):
    """The checkpoint's own; four beams where it wants one."""
    options = dict(BEAM_OPTIONS)
    for said in sayings(folder, config):  # of two, the latter wins
        options |= {k: said[k] for k in (*BEAM_OPTIONS, "min_length") if said.get(k) is not None}
    if options["num_beams"] < 2:
        options["num_beams"] = BEAM_OPTIONS["num_beams"]
    if options.get("min_length", 0) > max_new_tokens:
        del options["min_length"]
    return options | {"max_length": max_new_tokens + 1} | forced_of(folder, config)


def encoder_summary(x):
    ends = {n: {"position": i, "head8": digits(x[i, :8].tolist()), "tail8": digits(x[i, -8:].tolist())}
            for n, i in (("first", 0), ("middle", len(x) // 2), ("last", len(x) - 1))}
    return {"shape": list(x.shape), **ends, "mean": digits(x.mean().item()), "abs_mean": digits(x.abs().mean().item())}


def options_of(own):
    """A generation configuration as it would be saved, without what only names its origin."""
    said = own.to_diff_dict()
    return {k: v for k, v in said.items() if v is not None and k != "transformers_version" and not k.startswith("_")}


class CaseMaker:
    def __init__(self, oracle, config, tokenizer, args):
        self.oracle, self.tokenizer, self.args = oracle, tokenizer, args
        self.beam_options = beam_options_of(args.dir, config, args.max_new_tokens)
        self.greedy_options = {"max_new_tokens": args.max_new_tokens, **forced_of(args.dir, config)}
        self.vocabulary = config["vocab_size"]

    def make(self, name, said):
        ids = text.within(self.tokenizer, said, self.args.max_source_length)
        greedy_ids, gap = self.oracle.greedy(ids, self.greedy_options)
        forced = greedy_ids[:FORCED_STEPS]
        rows = {0, len(forced) - 1} if self.vocabulary <= self.args.full_rows_up_to else set()
        sequences, scores = self.oracle.beams(ids, self.beam_options)
        return {
            "name": name, "text": said, "max_source_length": self.args.max_source_length, "input_ids": ids,
            **forced_case(self.oracle, ids, forced, rows),
            "greedy_options": self.greedy_options, "greedy_ids": greedy_ids, "greedy_min_gap": digits(gap),
            "greedy_more": [],
            "beams": [{"options": self.beam_options, "sequences": sequences, "scores": digits(scores),
                       "summary": self.tokenizer.decode(sequences[0])}],
            "summary": self.tokenizer.decode(greedy_ids),
            **(defaults_case(self.oracle, ids) if self.args.defaults else {}),
        }


def forced_case(oracle, ids, forced, rows):
    """What a case says of the encoder and of teacher-forced logits; rows: positions that are given in full."""
    encoded, logits = oracle.forced(ids, forced)
    best = logits.topk(5)
    return {"encoder_output": encoder_summary(encoded), "decoder_input_ids": forced,
            "logits": {"rows": {str(i): digits(logits[i].tolist()) for i in sorted(rows)},
                       "top5_ids": best.indices.tolist(), "top5_values": digits(best.values.tolist())}}


def defaults_case(oracle, ids):
    sequences, scores = oracle.defaults(ids)
    return {"defaults": {"sequences": sequences, "scores": scores and digits(scores)}}


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
    parser.add_argument("--defaults", action="store_true",
                        help="generate() by the checkpoint's own settings, too (not of groupings that follow the keys)")
    parser.add_argument("--full-rows-up-to", type=int, default=8192,
                        help="vocabularies larger than this get only the five best logits a step")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    config = read_settings(args.dir)
    oracle = make_oracle(args.dir, config)
    if args.defaults and not isinstance(oracle, Transformers):
        sys.exit(f"--defaults: transformers cannot run {config['attention_variant']}")
    maker = CaseMaker(oracle, config, make_tokenizer(args.dir, config), args)
    prefix = checkpoint.prefix_of(config, args.prefix)
    cases = []
    for name, text in read_texts(args.texts):
        cases.append(maker.make(name, prefix + text))
        print(f"{cases[-1]['name']}: {len(cases[-1]['input_ids'])} source tokens, "
              f"{len(cases[-1]['greedy_ids'])} greedy, smallest gap {cases[-1]['greedy_min_gap']}", flush=True)
    out = args.out or args.dir / "golden.json"
    own = {"default_options": options_of(oracle.own)} if args.defaults else {}
    write(out, {"format": 1, "fixture": args.dir.resolve().name, "family": config["model_type"],
                "source": oracle.source, **own, "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
                "margins": {"greedy": min(c["greedy_min_gap"] for c in cases)}, "batches": [], "cases": cases})
    print(f"{out}: {len(cases)} cases")


if __name__ == "__main__":
    main()
