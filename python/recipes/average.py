"""Averages the weights of checkpoints that were trained on from one: a better model than each, for nothing.

    python average.py OUT RUN1/checkpoint RUN2/checkpoint
    python average.py OUT OLD NEW --shares 1 3          a quarter of OLD: closer to what it was good at

It works for runs that began at the same weights (other data order, optimiser or length); what began apart is ruined by
it. Everything but the weights is the first folder's. OUT appears when it is complete.
"""
import argparse
import sys
from pathlib import Path

import torch

from training import checkpoint

MAY_DIFFER = {"architectures", "torch_dtype", "task_specific_params", "dropout_rate", *checkpoint.DERIVED}


def check_alike(folders):
    """Configs of one architecture, else an error that names folder and key."""
    first = checkpoint.read_config(folders[0])
    for folder in folders[1:]:
        other = checkpoint.read_config(folder)
        differ = sorted(k for k in (first.keys() | other.keys()) - MAY_DIFFER if first.get(k) != other.get(k))
        if differ:
            sys.exit(f"{folder}: {', '.join(differ)} differs from {folders[0]}")
    return first


def weighed(folders, shares):
    """Sum of the folders' tensors by their shares of the whole."""
    total, made = sum(shares), {}
    for folder, share in zip(folders, shares):
        model = checkpoint.load(folder)
        for name, tensor in model.state_dict().items():
            made[name] = made.get(name, torch.zeros(())) + tensor * (share / total)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", help="of each folder; all alike without it")
    args = parser.parse_args()
    shares = args.shares or [1.0] * len(args.folder)
    if len(shares) != len(args.folder) or min(shares) < 0 or sum(shares) <= 0:
        sys.exit(f"--shares: {len(shares)} for {len(args.folder)} folders; none may be below 0, nor all 0")
    config = check_alike(args.folder)
    checkpoint.write(args.out, weighed(args.folder, shares), config, args.folder[0])
    print(f"{args.out}: {len(shares)} checkpoints averaged")


if __name__ == "__main__":
    main()
