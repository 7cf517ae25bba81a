"""Pretrains a T5 from random weights by span corruption on the texts of a JSONL file.

    python pretrain.py RUN --like ../../models/demo --train train.jsonl --held-out held_out.jsonl --minutes 30

The architecture and the vocabulary are those of the folder --like; heads are not grouped (uptrain.py groups them).
A run that was killed goes on with the same command. RUN/checkpoint appears at its end.
"""
import argparse
import sys
from pathlib import Path

import torch

from training import checkpoint, curves, families, files, options, text
from training.model import T5
from training.trainer import Run


def fresh_config(folder):
    config = {k: v for k, v in checkpoint.read_config(folder).items() if k not in ("head_order", "head_groups")}
    return {**config, "attention_variant": "mha", "num_key_value_heads": config["num_heads"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", type=Path, required=True, help="checkpoint folder with the config and the vocabulary")
    options.add(parser, rate=0.01)
    args = parser.parse_args()
    options.check(args)
    torch.manual_seed(args.seed)
    config, pieces = fresh_config(args.like), text.read_pieces(args.like)
    if families.of(config) is not families.T5:
        sys.exit(f"{args.like}/config.json: model_type: {config['model_type']}: span corruption is T5's")
    texts = text.Spans(text.read_all(args.train), pieces, config, args.source_length)
    held_out = text.Spans(files.read_jsonl(args.held_out)[:args.held_out_texts], pieces, config, args.source_length)
    model = T5(config, getattr(torch, args.compute), args.dropout)
    Run(args.run, model, texts, held_out, options.settings(args), beside=args.like).train()
    curves.draw(args.run)


if __name__ == "__main__":
    main()
