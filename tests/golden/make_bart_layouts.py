"""Makes families/bart_layouts: one tiny BART in the layouts that people have. All must give equal answers.

    python make_bart_layouts.py      # needs torch, transformers 5.5.4 and safetensors

saved_5            as save_pretrained() of transformers 5.5.4 writes it: generation_config.json, tokenizer.json
saved_4            as 4.x did: config.json has the keys of generation itself, vocab.json and merges.txt are the tokenizer,
                   all four copies of the tied embedding are stored
torch_save         the same with pytorch_model.bin by torch.save (zip): the four names share a storage
torch_save_legacy  torch.save's format before 1.6; only task_specific_params says how summaries are generated

golden.json is the same in all four but for the name; each folder is run by transformers to see that.
"""
import contextlib
import io
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import torch
import transformers
from safetensors.torch import save_file

import make_bart_groupings as bart
from bart_reference import BartReference
from make_fixtures import write_json

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "python" / "recipes"))
import golden  # noqa: E402
from goldens import oracle  # noqa: E402
from training import vocabulary  # noqa: E402

LAYOUTS = ("saved_5", "saved_4", "torch_save", "torch_save_legacy")
SHAPE = {"d_model": 32, "decoder_layers": 1, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
TIED = ("model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
        "lm_head.weight")
IDS = ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id")
SPECIAL = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>",
           "pad_token": "<pad>", "mask_token": "<mask>"}
# What 4.x wrote besides: it changes nothing.
OLD_KEYS = {"_name_or_path": "bart-tiny", "_num_labels": 3, "add_bias_logits": False, "add_final_layer_norm": False,
            "classif_dropout": 0.0, "classifier_dropout": 0.0, "gradient_checkpointing": False,
            "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "normalize_before": False,
            "normalize_embedding": True, "output_past": True, "prefix": " ", "save_step": 0,
            "static_position_embeddings": False, "transformers_version": "4.7.0.dev0"}


def shape_of():
    plain = bart.make_config("bart_mha_g4", 4) | SHAPE
    return {k: v for k, v in plain.items() if k not in ("attention_variant", "num_key_value_heads")}


def save_5(folder, config, tensors):
    """By transformers itself."""
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**config)).half()
    missing, left = model.load_state_dict(tensors, strict=False)
    assert set(missing) <= set(TIED) and not left, (missing, left)
    model.generation_config = transformers.GenerationConfig(**bart.GENERATION)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(bart.TOKENIZER).save_pretrained(folder)


def save_old(folder, name, config, tensors):
    folder.mkdir()
    said = {k: v for k, v in bart.GENERATION.items() if k not in IDS}
    task = {"task_specific_params": {"summarization": said}}
    own = {} if name == "torch_save_legacy" else {**said, "min_length": said["min_length"]}
    write_json(folder / "config.json", dict(sorted((config | OLD_KEYS | own | task).items())))
    for file in ("vocab.json", "merges.txt"):
        shutil.copyfile(bart.TOKENIZER / file, folder / file)
    write_json(folder / "tokenizer_config.json", {"model_max_length": bart.POSITIONS})
    write_json(folder / "special_tokens_map.json", SPECIAL)
    if name == "saved_4":
        copies = {n: tensors[TIED[0]].clone() for n in TIED}
        save_file(tensors | copies, folder / "model.safetensors", {"format": "pt"})
    else:
        torch.save(tensors | {n: tensors[TIED[0]] for n in TIED}, folder / "pytorch_model.bin",
                   _use_new_zipfile_serialization=name == "torch_save")


def make_golden(folder):
    words = ["golden.py", str(folder), "--texts", str(HERE / "families" / "texts.jsonl"), "--max-source-length", "48",
             "--max-new-tokens", "40", "--full-rows-up-to", "0", "--defaults"]
    with mock.patch("sys.argv", words), contextlib.redirect_stdout(io.StringIO()):
        golden.main()
    return json.loads((folder / "golden.json").read_text())


def dull(made, ref):
    """Why a seed is no fixture; nothing if it is one. ref: of the same weights, for the margins of searches."""
    if made["margins"]["greedy"] < bart.MIN_GAP:
        return f"a gap of {made['margins']['greedy']}"
    if min(len(set(c["defaults"]["sequences"][0])) for c in made["cases"]) < 9:
        return "dull texts"
    for case in made["cases"]:
        for o in ({k: v for k, v in bart.GENERATION.items() if k not in IDS}, case["beams"][0]["options"]):
            sequences, _, margin = ref.beam_search(case["input_ids"], **o)
            assert sequences in ([case["defaults"]["sequences"][0]], [case["beams"][0]["sequences"][0]])
            if margin < bart.MIN_BEAM_MARGIN:
                return f"a margin of {margin:.1e}"
    return None


def check_alike(folder, made):
    """transformers reads the folder with the same answers; task_specific_params hold as its pipeline applies them."""
    config = oracle.read_settings(folder)
    model, tokenizer = oracle.make_oracle(folder, config), vocabulary.make_tokenizer(folder, config)
    if folder.name == "torch_save_legacy":
        model.own.update(**config["task_specific_params"]["summarization"])
    for case in made["cases"]:
        ids = tokenizer.before + tokenizer.encode(case["text"])
        assert ids[:47] == case["input_ids"][:-1][:47], (folder.name, case["name"])
        ids = case["input_ids"]
        assert model.greedy(ids, case["greedy_options"])[0] == case["greedy_ids"], (folder.name, case["name"])
        sequences, scores = model.defaults(ids)
        assert {"sequences": sequences, "scores": golden.digits(scores)} == case["defaults"], (folder.name, case["name"])
        assert tokenizer.decode(case["greedy_ids"]) == case["summary"]


def make(seed, place):
    config = shape_of()
    tensors = bart.make_tensors(config | {"attention_variant": "mha"}, seed)
    save_5(place / "saved_5", config, tensors)
    for name in LAYOUTS[1:]:
        save_old(place / name, name, config, tensors)
    made = make_golden(place / "saved_5")
    why = dull(made, BartReference(place / "saved_4"))
    if why:
        return why
    for name in LAYOUTS:
        check_alike(place / name, made)
        golden.write(place / name / "golden.json", dict(made, fixture=f"bart_layouts/{name}", seed=seed))
        for path in (place / name).iterdir():
            path.chmod(0o644)
    return None


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    for seed in range(55000, 56000):
        with tempfile.TemporaryDirectory() as place:
            why = make(seed, Path(place))
            if why:
                print(f"seed {seed}: {why}", flush=True)
                continue
            target = HERE / "families" / "bart_layouts"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(place, target)
            target.chmod(0o755)
            print(f"bart_layouts: seed {seed}")
            return
    raise SystemExit("no seed found")


if __name__ == "__main__":
    main()
