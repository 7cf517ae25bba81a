"""Checkpoint folders: Hugging Face tensor names, and the config keys of docs/design/attention_variants.md."""
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from training import files, grouping
from training.model import T5

BESIDE = ("spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
          "generation_config.json")
KEPT_FLOAT32 = ("wk1", "wv1", "cached_norm")  # they weigh in before any rounding


# What old files leave out, as transformers' T5Config has it.
DEFAULTS = {"feed_forward_proj": "relu", "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
            "layer_norm_epsilon": 1e-6, "eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 0}
SIZES = ("d_model", "d_kv", "d_ff", "num_heads", "num_layers", "vocab_size")


def read_config(folder):
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        sys.exit(f"{path}: {e}")
    for key in SIZES:
        if not isinstance(config.get(key), int) or config[key] < 1:
            sys.exit(f"{path}: {key}: {config.get(key)} is no size")
    if config.get("attention_variant", "mha") not in grouping.VARIANTS:
        sys.exit(f"{path}: attention_variant: {config['attention_variant']} is not known")
    return DEFAULTS | config


def summarization_of(config):
    """What a config says about the task."""
    return (config.get("task_specific_params") or {}).get("summarization", {})


def prefix_of(config, given=None):
    """What stands before every document; given: what somebody wants instead, "" included."""
    return summarization_of(config).get("prefix", "") if given is None else given


def read_tensors(folder):
    """All tensors of a folder in float32, sharded or not."""
    index = Path(folder) / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    tensors = {}
    for name in names:
        try:
            with safe_open(str(Path(folder) / name), "pt") as f:
                tensors.update({key: f.get_tensor(key).float() for key in f.keys()})
        except (OSError, SafetensorError) as e:
            sys.exit(f"{Path(folder) / name}: {e}")
    return tensors


def put(model, tensors, where):
    """Fills a model; a tensor that is missing, left over or of another shape is an error that names it."""
    own = model.state_dict()
    copies = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}  # of shared.weight, in old files
    for name in sorted(own.keys() | (tensors.keys() - copies)):
        if name not in tensors:
            sys.exit(f"{where}: {name} is missing")
        if name not in own:
            if name == "lm_head.weight":
                continue  # tied: the same numbers as shared.weight
            sys.exit(f"{where}: {name} is not known to this architecture and attention_variant")
        if own[name].shape != tensors[name].shape:
            sys.exit(f"{where}: {name} is {list(tensors[name].shape)}, not {list(own[name].shape)}")
        if not torch.isfinite(tensors[name]).all():
            sys.exit(f"{where}: {name} has a number that is not finite")
        own[name].copy_(tensors[name])
    return model


def complete(config, tensors):
    """The config with what only the tensors show: a vocabulary matrix of its own."""
    head = tensors.get("lm_head.weight")
    own = head is not None and not torch.equal(head, tensors["shared.weight"])
    return {**config, "separate_lm_head": own}


def pooled(config, tensors):
    """The tensors with every KV head that the variant stores grouped: a file may still have all H of them."""
    heads, d = config["num_heads"], config["d_kv"]
    if config.get("attention_variant", "mha") not in grouping.STORED_GROUPED:
        return tensors
    groups = grouping.even_groups(heads, config["num_key_value_heads"])
    return {name: grouping.fold(t.view(heads, d, -1), groups)
            if name.startswith("decoder.") and name.endswith((".k.weight", ".v.weight")) and t.shape[0] == heads * d
            else t for name, t in tensors.items()}


def check_groups(config, where):
    """Every query head has exactly one KV head; else an error that names key and layer."""
    heads, count = config["num_heads"], config.get("num_key_value_heads", config["num_heads"])
    variant = config.get("attention_variant", "mha")
    if variant not in ("mha", "qcqa") and (count < 1 or heads % count):
        sys.exit(f"{where}: num_key_value_heads: {count} does not divide the {heads} heads")
    key = {"simgqa": "head_order", "qcqa": "head_groups"}.get(variant)
    for kind in ("self", "cross") if key else ():
        for layer in range(config.get("num_decoder_layers") or config["num_layers"]):
            try:
                members = sorted(h for group in grouping.groups_of(config, kind, layer) for h in group)
            except (KeyError, IndexError, TypeError):
                members = None
            if members != list(range(heads)):
                sys.exit(f"{where}: {key}: {kind}, layer {layer}: not every one of the {heads} heads once")


def build(config, tensors, where, compute=torch.float32, dropout=0.0):
    """The model of a config, filled with tensors."""
    check_groups(config, where)
    model = T5(complete(config, tensors), compute, dropout)
    return put(model, pooled(config, tensors), where)


def load(folder, compute=torch.float32, dropout=0.0):
    return build(read_config(folder), read_tensors(folder), folder, compute, dropout)


def stored(name, tensor, dtype):
    return tensor.detach().to(torch.float32 if name.endswith(KEPT_FLOAT32) else dtype).contiguous()


def write_into(folder, tensors, config, beside, dtype=torch.bfloat16):
    """A checkpoint into a folder that has none. beside: a folder whose vocabulary goes with it."""
    config = {k: v for k, v in config.items() if k != "separate_lm_head"}
    config["torch_dtype"] = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file({name: stored(name, t, dtype) for name, t in tensors.items()}, str(folder / "model.safetensors"),
              metadata={"format": "pt"})
    for name in BESIDE:
        if (Path(beside) / name).exists():
            shutil.copyfile(Path(beside) / name, folder / name)


def write(folder, tensors, config, beside, dtype=torch.bfloat16):
    """A checkpoint folder that appears when all of it is there."""
    with files.finished_together(folder) as unfinished:
        write_into(unfinished, tensors, config, beside, dtype)
