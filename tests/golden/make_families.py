"""Makes families/: checkpoints whose files say more than one of T5 does, and what transformers makes of them.

    python make_families.py [NAME...]        # needs torch, transformers 5.5.4, sentencepiece and safetensors
    python make_families.py --again DIR...   # the same checkpoint, cases and options; every number by transformers anew

golden.json is written by the recipe that users have (python/recipes/golden.py), from transformers alone. Seeds are searched
upwards until no greedy step is too close to call and two of the ends are met. --again is for the folders that were made apart
(umt5, byt5, bart_cnn, distilbart, t5_bin_*): git diff then shows what a newer transformers would change.
"""
import contextlib
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file

import make_fixtures

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "python" / "recipes"))
import golden  # noqa: E402
from goldens import oracle  # noqa: E402
from training import checkpoint, vocabulary  # noqa: E402

TEXTS = HERE / "families" / "texts.jsonl"
SHAPE = {"layers": [1, 1], "dtype": "float16"}
MIN_GAP = 2e-3

# config: what config.json says otherwise; None leaves a key out. generation: all of generation_config.json.
FAMILIES = {
    # transformers never scales what mT5's decoder gives, whatever the tie is; config.json says other ids.
    "mt5_several_ends": {
        "seed": 41000, "version": "1.1",
        "config": {"model_type": "mt5", "architectures": ["MT5ForConditionalGeneration"], "tie_word_embeddings": True,
                   "feed_forward_proj": None, "eos_token_id": 5, "decoder_start_token_id": 7},
        "generation": {"bos_token_id": 2, "eos_token_id": [1, 44, 171], "pad_token_id": 0},
        "likely": [44, 171],
    },
    # Ends in config.json alone, no </s> among them; three embeddings and an lm_head that differ.
    "untied_embeddings": {
        "seed": 42000, "version": "1.1", "config": {"eos_token_id": [30, 22]}, "generation": None,
        "likely": [30, 22], "own": ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"],
    },
}


def make(folder, family, seed):
    f = {**SHAPE, **{k: v for k, v in family.items() if k == "version"}}
    config = make_fixtures.make_config(f)
    tensors = make_fixtures.make_tensors(f, config, seed)
    rng = torch.Generator().manual_seed(seed)
    for name in family.get("own", []):
        tensors[name] = torch.randn(tensors["shared.weight"].shape, generator=rng).to(tensors["shared.weight"].dtype)
    tensors["lm_head.weight"][family["likely"]] *= 1.4
    config = {k: v for k, v in (config | family["config"]).items() if v is not None}
    folder.mkdir()
    make_fixtures.write_json(folder / "config.json", config)
    if family["generation"] is not None:
        make_fixtures.write_json(folder / "generation_config.json", family["generation"])
    shutil.copyfile(HERE / "spiece.model", folder / "spiece.model")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    words = ["golden.py", str(folder), "--texts", str(TEXTS), "--max-new-tokens", "40"]
    with mock.patch("sys.argv", words), contextlib.redirect_stdout(io.StringIO()):
        golden.main()
    return json.loads((folder / "golden.json").read_text())


def dull(made, family):
    """Why a seed is no fixture; nothing if it is one."""
    ends = (family["generation"] or family["config"])["eos_token_id"]
    last = [case["greedy_ids"][-1] for case in made["cases"]]
    if made["margins"]["greedy"] < MIN_GAP:
        return f"a gap of {made['margins']['greedy']}"
    if len({i for i in last if i in ends}) < 2 or min(len(c["greedy_ids"]) for c in made["cases"]) < 4:
        return f"ends {last}"
    if sum(len(c["greedy_ids"]) > 12 for c in made["cases"]) < 2:
        return "short texts"
    return None


def case_again(model, decode, case):
    ids, rows = case["input_ids"], map(int, case["logits"]["rows"])
    made = golden.forced_case(model, ids, case["decoder_input_ids"], rows)
    made["greedy_ids"], gap = model.greedy(ids, case["greedy_options"])
    made["greedy_min_gap"], made["greedy_more"], made["beams"] = golden.digits(gap), [], []
    for run in case["greedy_more"]:
        out, gap = model.greedy(ids, run["options"])
        made["greedy_more"].append({**run, "ids": out, "min_gap": golden.digits(gap)})
    for run in case["beams"]:
        sequences, scores = model.beams(ids, run["options"])
        text = {"summary": decode(sequences[0])} if "summary" in run else {}
        made["beams"].append({**run, "sequences": sequences, "scores": golden.digits(scores), **text})
    made |= {"summary": decode(made["greedy_ids"])} if "summary" in case else {}
    return {**case, **made, **(golden.defaults_case(model, ids) if "defaults" in case else {})}


def again(folder):
    """golden.json anew. What is not transformers' (margins of searches, float64) and padded batches stay."""
    made, config = checkpoint.read_json(folder / "golden.json"), oracle.read_settings(folder)
    model, tokenizer = oracle.make_oracle(folder, config), vocabulary.Automatic(folder)
    made["cases"] = [case_again(model, tokenizer.decode, case) for case in made["cases"]]
    made |= {"source": model.source, "transformers": oracle.transformers.__version__,
             "torch": torch.__version__.split("+")[0]}
    golden.write(folder / "golden.json", made)
    print(f"{folder / 'golden.json'}: {len(made['cases'])} cases again")


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    if sys.argv[1:2] == ["--again"]:
        for folder in sys.argv[2:]:
            again(Path(folder))
        return
    for name, family in FAMILIES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        for seed in range(family["seed"], family["seed"] + 200):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / name
                made = make(folder, family, seed)
                why = dull(made, family)
                if why:
                    print(f"{name}: seed {seed}: {why}", flush=True)
                    continue
                target = HERE / "families" / name
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(folder, target)
                print(f"{name}: seed {seed}, margins {made['margins']}", flush=True)
                break


if __name__ == "__main__":
    main()
