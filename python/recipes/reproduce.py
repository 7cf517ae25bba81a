"""Every grouping uptrained alike from one MHA checkpoint, evaluated, and put into one table.

    python reproduce.py OUT --from MHA --train train.jsonl --held-out held_out.jsonl --steps 300 --rate 0.015

Same data order, rate and number of steps for each; OUT/NAME is its run (uptrain.py), OUT/summaries/NAME.jsonl what it
makes of the held-out texts greedily (PyTorch, float32), OUT/variants.md the table: ROUGE with its 95 % interval, the
paired difference to MHA, bytes of keys and values a token. Called again, it goes on where it was. simgqa and qcqa are
converted by the program --precis. `--only` names some of the rows.
"""
import argparse
import json
import sys
from pathlib import Path
from unittest import mock

import uptrain
from evaluation import local, scores
from training import checkpoint, files, grouping

ROWS = {  # name: variant, one KV head?, random start?
    "mha": ("mha", False, False), "gqa": ("gqa", False, False), "wgqa": ("wgqa", False, False),
    "colwgqa": ("colwgqa", False, False), "rowwgqa": ("rowwgqa", False, False),
    "rand_wgqa": ("wgqa", False, True), "rand_colwgqa": ("colwgqa", False, True),
    "rand_rowwgqa": ("rowwgqa", False, True), "mqa": ("mqa", True, False), "wmqa": ("wgqa", True, False),
    "colwmqa": ("colwgqa", True, False), "rowwmqa": ("rowwgqa", True, False), "simgqa": ("simgqa", False, False),
    "qcqa": ("qcqa", False, False), "kdgqa": ("kdgqa", False, False), "dgqa_diff": ("dgqa_diff", False, False),
    "dgqa_ema": ("dgqa_ema", False, False), "pgqa": ("pgqa", False, False),
}


def kv_bytes(config, value_bytes=2):
    """Bytes of keys and values of one token in all decoder layers, self- or cross-attention, whichever is more."""
    layers = range(config.get("num_decoder_layers") or config["num_layers"])
    heads = max(sum(len(grouping.groups_of(config, kind, i)) for i in layers) for kind in ("self", "cross"))
    return 2 * heads * config["d_kv"] * value_bytes


def train(args, name):
    variant, single, random = ROWS[name]
    words = [str(args.out / name), "--from", str(args.source), "--variant", variant, "--train", str(args.train),
             "--held-out", str(args.held_out), "--steps", str(args.steps), "--precis", args.precis, *args.rest]
    if variant not in ("mha", "mqa"):
        words += ["--kv-heads", "1" if single else str(args.kv_heads)]
    if random:
        words += ["--start", "random"]
    with mock.patch("sys.argv", ["uptrain.py", *words]):
        uptrain.main()


def summarize(args, name, rows):
    """What a finished run makes of the texts; kept, so that it is made once."""
    path = args.out / "summaries" / f"{name}.jsonl"
    if not path.exists():
        folder = args.out / name / "checkpoint"
        prefix = checkpoint.prefix_of(checkpoint.read_config(folder))
        made = local.summarize(folder, [row["document"] for row in rows], prefix)
        files.replace_text(path, "".join(json.dumps({"made": m}, ensure_ascii=False) + "\n" for m in made))
    made = [json.loads(line)["made"] for line in path.read_text(encoding="utf-8").splitlines()]
    if len(made) != len(rows):
        sys.exit(f"{path}: {len(made)} summaries for {len(rows)} texts; it was made with another --first")
    return scores.rouge([row["summary"] for row in rows], made)


def row_of(name, config, points, first):
    mean, low, high = scores.interval(points)
    delta, below, above = scores.interval(points - first)
    other = " / ".join(f"{m:.1f}" for m in mean[1:])
    return (f"| {name} | {config['num_key_value_heads']} | {kv_bytes(config):,} | {mean[0]:.1f} [{low[0]:.1f}, {high[0]:.1f}] "
            f"| {other} | {delta[0]:+.1f} [{below[0]:+.1f}, {above[0]:+.1f}] |")


def table(results):
    """results: (name, config, points) with the baseline first."""
    head = ("| | KV heads | KV bytes a token (bf16) | ROUGE-1 | ROUGE-2 / L / Lsum | ROUGE-1 less "
            f"{results[0][0]}, paired |\n|---|---|---|---|---|---|\n")
    return head + "".join(row_of(name, config, points, results[0][2]) + "\n" for name, config, points in results)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="What is not known here goes to uptrain.py as it is (--rate, --dropout, ...).")
    parser.add_argument("out", type=Path)
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--precis", default="precis")
    parser.add_argument("--first", type=int, help="evaluate on so many of the held-out texts")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME", help=" ".join(ROWS))
    args, args.rest = parser.parse_known_args()
    return args


def main():
    args = parse()
    rows = files.read_jsonl(args.held_out)[:args.first]
    (args.out / "summaries").mkdir(parents=True, exist_ok=True)
    results = []
    for name in args.only:
        if not (args.out / name / "checkpoint").exists():
            train(args, name)
        config = checkpoint.read_config(args.out / name / "checkpoint")
        results.append((name, config, summarize(args, name, rows)))
        files.replace_text(args.out / "variants.md", table(results))
    print(table(results), end="")


if __name__ == "__main__":
    main()
