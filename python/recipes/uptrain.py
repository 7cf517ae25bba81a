"""Fine-tunes a T5, BART or DistilBART on documents and summaries, with any grouping of its decoder heads.

    python uptrain.py RUN --from MHA --variant wgqa --kv-heads 2 --train train.jsonl --held-out held_out.jsonl --steps 2000
    python uptrain.py RUN --from GROUPED --train ... --held-out ... --minutes 30      trains on what it is

--from is a checkpoint folder as the hub has it. With --variant an MHA checkpoint is converted first: gqa, mqa, kdgqa,
dgqa_diff, dgqa_ema and pgqa start from the mean of each group; wgqa (one weight a head), colwgqa and rowwgqa from the
mean too or, with --start random, from a standard normal; simgqa and qcqa from what `precis convert` finds (--precis).
BART's K and V have biases: kdgqa, dgqa_* and pgqa are refused for it.
A run that was killed goes on with the same command. RUN/checkpoint appears at its end, RUN/log.csv and RUN/curves.png
show how it went. docs/training.md has the whole way from conversion to serving.
"""
import argparse
import sys
from pathlib import Path

import torch

from training import checkpoint, conversion, curves, files, grouping, options, text, vocabulary
from training.trainer import Run


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="checkpoint folder to start from")
    parser.add_argument("--variant", choices=grouping.VARIANTS, help="default: what the checkpoint is")
    parser.add_argument("--kv-heads", type=int, help="KV heads of the decoder")
    parser.add_argument("--start", choices=("mean", "random"), default="mean", help="of the head weights")
    parser.add_argument("--precis", default="precis", help="the command line program, for simgqa and qcqa")
    parser.add_argument("--prefix", help="default: task_specific_params.summarization.prefix of config.json, or none")
    options.add(parser, rate=0.003)
    args = parser.parse_args()
    options.check(args)
    return args


def check_lengths(args, config):
    """A table of positions is a hard limit."""
    most = config.get("max_position_embeddings")
    for key, length in (("--source-length", args.source_length), ("--target-length", args.target_length)):
        if most is not None and length > most:
            sys.exit(f"{key} {length}: the checkpoint has {most} positions")


def main():
    args = parse()
    torch.manual_seed(args.seed)
    tensors, config = conversion.start_from(args.source, args.variant, args.kv_heads, args.start, args.precis)
    check_lengths(args, config)
    words = vocabulary.make_tokenizer(args.source, config)
    model = checkpoint.build(config, tensors, args.source, getattr(torch, args.compute), args.dropout)
    cut = (checkpoint.prefix_of(config, args.prefix), args.source_length, args.target_length)
    texts = text.Summaries(text.read_all(args.train), words, *cut)
    held_out = text.Summaries(files.read_jsonl(args.held_out)[:args.held_out_texts], words, *cut)
    Run(args.run, model, texts, held_out, options.settings(args), beside=args.source).train()
    curves.draw(args.run)


if __name__ == "__main__":
    main()
