"""Checkpoint folders: Hugging Face tensor names, and the config keys of docs/design/attention_variants.md."""
import json
import pickle
import shutil
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from training import families, files, grouping

BESIDE = ("spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "vocab.json", "merges.txt", "generation_config.json")
KEPT_FLOAT32 = ("wk1", "wv1", "cached_norm")  # they weigh in before any rounding
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
    family = families.of(said, path)
    return family.read(said, path) | token_ids(folder, said, *family.own_ids)


def token_ids(folder, config, own_start=0, own_end=1):
    """The ids that generate() of transformers 5.5.4 takes: those of one file, generation_config.json if it is there.

    Where that says no start, generate() refuses; then config.json fills in, then the family's own ids (T5's).
    """
    path = Path(folder) / "generation_config.json"
    first = read_json(path) if path.exists() else config

    def said(file, *keys):
        return next((file[key] for key in keys if file.get(key) is not None), None)

    start, ends = said(first, "decoder_start_token_id", "bos_token_id"), said(first, "eos_token_id")
    if start is None:
        start = said(config, "decoder_start_token_id", "bos_token_id")
        start = own_start if start is None else start
        ends = next(e for e in (ends, said(config, "eos_token_id"), own_end) if e is not None)
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
    """All tensors of a folder in float32, sharded or not; of pytorch_model.bin where it has no safetensors."""
    index = Path(folder) / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if not index.exists() and not (Path(folder) / names[0]).exists() and any(Path(folder).glob("pytorch_model*.bin")):
        return read_pickles(folder)
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


def read_pickles(folder):
    """The same of pytorch_model.bin or its shards; weights_only refuses whatever is no tensor."""
    index = Path(folder) / "pytorch_model.bin.index.json"
    names = sorted(set(read_json(index)["weight_map"].values())) if index.exists() else ["pytorch_model.bin"]
    tensors = {}
    for name in names:
        try:
            part = torch.load(Path(folder) / name, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError) as e:
            sys.exit(f"{Path(folder) / name}: {e}")
        tensors.update({key: t.float() for key, t in part.items()})
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


def pooled(config, tensors):
    """The tensors with every KV head that the variant stores grouped: a file may still have all H of them."""
    heads, d = config["num_heads"], config["d_kv"]
    if config.get("attention_variant", "mha") not in grouping.STORED_GROUPED:
        return tensors
    groups, family = grouping.even_groups(heads, config["num_key_value_heads"]), families.of(config)
    return {name: grouping.fold_part(t, heads, d, groups) if family.projection(name) and len(t) == heads * d else t
            for name, t in tensors.items()}


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
    family = families.of(config)
    tensors = family.tied(config, tensors, where)
    model = family.model(complete(config, tensors), compute, dropout)
    return put(model, pooled(config, tensors), where)


def load(folder, compute=torch.float32, dropout=0.0):
    return build(read_config(folder), read_tensors(folder), folder, compute, dropout)


def stored(name, tensor, dtype):
    return tensor.detach().to(torch.float32 if name.endswith(KEPT_FLOAT32) else dtype).contiguous()


def write_into(folder, tensors, config, beside, dtype=torch.bfloat16):
    """A checkpoint into a folder that has none. beside: a folder whose vocabulary goes with it."""
    config = {k: v for k, v in config.items() if k not in DERIVED + families.of(config).derived}
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
