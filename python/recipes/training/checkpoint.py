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

BESIDE = ("spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "vocab.json", "merges.txt", "generation_config.json")
KEPT_FLOAT32 = ("wk1", "wv1", "cached_norm")  # they weigh in before any rounding


# What files leave out, as T5Config and MT5Config of transformers 5.5.4 have it; precis-server takes the same.
DEFAULTS = {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
            "d_model": 512, "d_kv": 64, "pad_token_id": 0}
FAMILIES = {
    "t5": {**DEFAULTS, "vocab_size": 32128, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "feed_forward_proj": "relu"},
    "mt5": {**DEFAULTS, "vocab_size": 250112, "d_ff": 1024, "num_layers": 8, "num_heads": 6,
            "feed_forward_proj": "gated-gelu"},
}
SIZES = ("d_model", "d_kv", "d_ff", "num_heads", "num_layers", "vocab_size")
OTHER_NAMES = {"hidden_size": "d_model", "head_dim": "d_kv", "num_attention_heads": "num_heads",
               "num_hidden_layers": "num_layers"}  # they win
ACTIVATIONS = {"relu": ("relu", False), "gated-gelu": ("gelu_new", True)}  # dense_act_fn, is_gated_act
DERIVED = ("separate_lm_head", "end_token_ids")  # known from other files than config.json, and not written into it


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        sys.exit(f"{path}: {e}")


def read_config(folder):
    """config.json with the defaults of its family, and the ids with which summaries begin and end."""
    path = Path(folder) / "config.json"
    said = read_json(path)
    if said.get("model_type") not in FAMILIES:
        sys.exit(f"{path}: model_type: {said.get('model_type')} is none of {', '.join(FAMILIES)}")
    config = FAMILIES[said["model_type"]] | said
    config["num_decoder_layers"] = said.get("num_decoder_layers") or config["num_layers"]
    config |= {key: said[other] for other, key in OTHER_NAMES.items() if other in said}
    for key in SIZES:
        if not isinstance(config[key], int) or config[key] < 1:
            sys.exit(f"{path}: {key}: {config[key]} is no size")
    served = ACTIVATIONS.get(config["feed_forward_proj"])
    if served is None or served != (said.get("dense_act_fn", served[0]), said.get("is_gated_act", served[1])):
        sys.exit(f"{path}: feed_forward_proj {config['feed_forward_proj']} with dense_act_fn {said.get('dense_act_fn')} "
                 f"and is_gated_act {said.get('is_gated_act')}; relu and gated-gelu are known, with their own")
    if config.get("attention_variant", "mha") not in grouping.VARIANTS:
        sys.exit(f"{path}: attention_variant: {config['attention_variant']} is not known")
    return config | token_ids(folder, said)


def token_ids(folder, config):
    """The ids that generate() of transformers 5.5.4 takes: those of one file, generation_config.json if it is there.

    Where that says no start, generate() refuses; then config.json fills in, then T5's own ids.
    """
    path = Path(folder) / "generation_config.json"
    first = read_json(path) if path.exists() else config

    def said(file, *keys):
        return next((file[key] for key in keys if file.get(key) is not None), None)

    start, ends = said(first, "decoder_start_token_id", "bos_token_id"), said(first, "eos_token_id")
    if start is None:
        start = said(config, "decoder_start_token_id", "bos_token_id") or 0
        ends = next(e for e in (ends, said(config, "eos_token_id"), 1) if e is not None)
    start = start[0] if isinstance(start, list) else start
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    return {"decoder_start_token_id": start, "end_token_ids": ends}


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
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors:
            sys.exit(f"{where}: {name} is missing")
        if name not in own:
            sys.exit(f"{where}: {name} is not known to this architecture and attention_variant")
        if own[name].shape != tensors[name].shape:
            sys.exit(f"{where}: {name} is {list(tensors[name].shape)}, not {list(own[name].shape)}")
        if not torch.isfinite(tensors[name]).all():
            sys.exit(f"{where}: {name} has a number that is not finite")
        own[name].copy_(tensors[name])
    return model


def complete(config, tensors):
    """The config with what only the tensors show: a vocabulary matrix of its own."""
    return {**config, "separate_lm_head": "lm_head.weight" in tensors}


def tied(config, tensors, where):
    """The tensors with one embedding, shared.weight: what has other names is tied as transformers 5.5.4 does it.

    Encoder and decoder train one matrix here; files in which theirs differ are refused.
    """
    shared, ties = "shared.weight", ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    ties = ties + ["lm_head.weight"] if config["model_type"] == "mt5" else ["lm_head.weight"] + ties
    found = {name: tensors[name] for name in [shared, *ties] if name in tensors}
    for n, name in enumerate(ties):
        if name in found and shared in found:
            if torch.equal(found[name], found[shared]):
                found[name] = found[shared]
        elif name in found:
            found[shared] = found[name]
        elif shared in found:
            found[name] = found[shared]
        else:
            found |= {name: found[other] for other in reversed(ties[n + 1:]) if other in found}  # the first of them
    if shared not in found:
        sys.exit(f"{where}: {shared} is missing")
    one, other = found["encoder.embed_tokens.weight"], found["decoder.embed_tokens.weight"]
    if not torch.equal(one, other):
        sys.exit(f"{where}: encoder.embed_tokens.weight and decoder.embed_tokens.weight (or {shared}) differ: one "
                 "embedding is trained")
    rest = {name: t for name, t in tensors.items() if name not in (shared, *ties)}
    head = {} if torch.equal(found["lm_head.weight"], one) else {"lm_head.weight": found["lm_head.weight"]}
    return {**rest, shared: one, **head}


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
    tensors = tied(config, tensors, where)
    model = T5(complete(config, tensors), compute, dropout)
    return put(model, pooled(config, tensors), where)


def load(folder, compute=torch.float32, dropout=0.0):
    return build(read_config(folder), read_tensors(folder), folder, compute, dropout)


def stored(name, tensor, dtype):
    return tensor.detach().to(torch.float32 if name.endswith(KEPT_FLOAT32) else dtype).contiguous()


def write_into(folder, tensors, config, beside, dtype=torch.bfloat16):
    """A checkpoint into a folder that has none. beside: a folder whose vocabulary goes with it."""
    config = {k: v for k, v in config.items() if k not in DERIVED}
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
