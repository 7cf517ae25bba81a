#!/usr/bin/env python3
"""Writes model.safetensors beside the pytorch_model.bin of a checkpoint directory.

    python3 -m venv build/venv && build/venv/bin/pip install torch safetensors
    build/venv/bin/python python/recipes/convert_safetensors.py DIR

pytorch_model.bin is a pickle, which can run code when it is read; it is loaded with weights_only, which
refuses everything but tensors. Types are kept. Tensors that share memory (the tied embedding under its
three names) are written once, under the first of: shared.weight, then the alphabet.
"""
import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file


def read_pickles(folder):
    """All tensors of pytorch_model.bin, or of the shards its index names."""
    index = folder / "pytorch_model.bin.index.json"
    names = ["pytorch_model.bin"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    tensors = {}
    for name in names:
        part = torch.load(folder / name, map_location="cpu", weights_only=True)
        tensors.update({k: v for k, v in part.items() if isinstance(v, torch.Tensor)})
    return tensors


def without_duplicates(tensors):
    """One name for each piece of memory, and every tensor contiguous, as the format wants it."""
    kept, seen = {}, set()
    for name in sorted(tensors, key=lambda n: (n != "shared.weight", n)):
        tensor = tensors[name]
        # What an lm_head shares with the embedding is tied anyway; what differs is kept.
        where = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() and where in seen:
            print(f"{name}: same memory as another tensor, left out")
            continue
        seen.add(where)
        kept[name] = tensor.clone().contiguous()
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path, help="checkpoint directory with pytorch_model.bin")
    parser.add_argument("--force", action="store_true", help="overwrite an existing model.safetensors")
    args = parser.parse_args()
    target = args.dir / "model.safetensors"
    if target.exists() and not args.force:
        sys.exit(f"{target} exists; --force overwrites it")
    tensors = without_duplicates(read_pickles(args.dir))
    partial = args.dir / "model.safetensors.partial"
    save_file(tensors, partial, {"format": "pt"})
    partial.chmod(0o644)  # save_file writes for its owner only
    partial.rename(target)  # whoever reads the directory sees the whole file or none
    print(f"{target}: {len(tensors)} tensors, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
