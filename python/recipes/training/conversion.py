"""An MHA checkpoint as the start of a grouped one: the formulas of docs/design/attention_variants.md.

simgqa and qcqa need a search over the heads, which `precis convert` has; it makes those two.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from training import checkpoint, families, grouping

SEARCHED = ("simgqa", "qcqa")


def check(config, variant, kv_heads):
    heads = config["num_heads"]
    families.of(config).check_variant(variant, "--variant")
    if config.get("attention_variant", "mha") != "mha":
        sys.exit(f"attention_variant: the checkpoint is {config['attention_variant']} already; leave --variant out to "
                 "train it on")
    if variant == "mqa" and kv_heads not in (None, 1):
        sys.exit(f"--kv-heads {kv_heads}: mqa has one")
    if variant == "mha" and kv_heads not in (None, heads):
        sys.exit(f"--kv-heads {kv_heads}: mha has {heads}")
    if variant not in ("mha", "mqa"):
        if kv_heads is None:
            sys.exit(f"--kv-heads: {variant} needs it")
        if kv_heads < 1 or kv_heads > heads or (variant != "qcqa" and heads % kv_heads):
            sys.exit(f"--kv-heads {kv_heads}: the checkpoint has {heads} heads, and it must divide them")


def head_weights(config, variant, start):
    shape = grouping.weight_shape(variant, config)
    if start == "random":
        return torch.randn(shape)
    return torch.full(shape, config["num_key_value_heads"] / config["num_heads"])


def convert(tensors, config, variant, kv_heads, start="mean"):
    """(tensors, config) of the variant. Nothing is trained yet: with start "mean" all equal GQA."""
    check(config, variant, kv_heads)
    heads, d = config["num_heads"], config["d_kv"]
    count = {"mha": heads, "mqa": 1}.get(variant, kv_heads)
    config = {**config, "attention_variant": variant, "num_key_value_heads": count}
    family = families.of(config)
    tensors = family.named(tensors)
    made = dict(tensors)
    for name in sorted(tensors):
        at, part = family.projection(name), tensors[name]
        if at is None:
            continue
        if len(part) != heads * d or (at.part == "weight" and not part.any()):
            sys.exit(f"{name}: {list(part.shape)} with {'some' if part.any() else 'no'} numbers but 0; wanted are "
                     f"{heads} heads of {d}")
        if variant in grouping.STORED_GROUPED:
            made[name] = grouping.fold_part(part, heads, d, grouping.even_groups(heads, count))
        if variant in grouping.WEIGHTED and at.part == "weight":
            made[at.learned] = head_weights(config, variant, start)
        if variant in grouping.CACHED:
            made[at.attention + "cached_norm"] = torch.zeros(count)
    return made, config


def searched(precis, source, variant, kv_heads):
    """(tensors, config) as `precis convert` makes them."""
    check(checkpoint.read_config(source), variant, kv_heads)
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "made"
        command = [precis, "convert", source, made, "--variant", variant, "--kv-heads", str(kv_heads)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as e:
            sys.exit(f"--precis {precis}: {e.strerror}: {variant} is made by `precis convert`")
        if done.returncode != 0:
            sys.exit(done.stderr.strip())
        return checkpoint.read_tensors(made), checkpoint.read_config(made)


def start_from(folder, variant, kv_heads, start, precis):
    """(tensors, config) that training starts from: the folder's own, or converted when a variant is asked for."""
    config = checkpoint.read_config(folder)
    if variant is None or (variant == "mha" and config.get("attention_variant", "mha") == "mha"):
        if kv_heads not in (None, config.get("num_key_value_heads", config["num_heads"])):
            sys.exit(f"--kv-heads {kv_heads}: only with --variant")
        return checkpoint.read_tensors(folder), config
    if start == "random" and variant not in grouping.WEIGHTED:
        sys.exit(f"--start random: {variant} has no head weights")
    if variant in SEARCHED:
        return searched(precis, folder, variant, kv_heads)
    return convert(checkpoint.read_tensors(folder), config, variant, kv_heads, start)
