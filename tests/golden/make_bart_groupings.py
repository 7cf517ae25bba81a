"""Makes families/bart_{gqa,wgqa,colwgqa,rowwgqa}_g2: BART with grouped decoder heads, and what it answers unfolded.

    python make_bart_groupings.py [NAME...]      # needs torch, transformers 5.5.4 and safetensors

All biases are there and random, those of K and V above all, and the head weights of a group sum to 1.7 or -0.6: a bias
that is merged by another rule than its heads' is seen at once (`logits_change` in golden.json says by how much).
bart_reference.py gives the numbers; transformers, on weights that are folded here, must agree. Seeds are searched
upwards until outputs vary and no decision hangs on a difference that float32 could lose.
"""
import json
import math
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from bart_reference import BartReference, OFFSET
from make_fixtures import Rejected, digits, digits_dict, encoder_summary, write_golden, write_json

HERE = Path(__file__).resolve().parent
TOKENIZER = HERE / "tokenizers" / "bart_bpe"
VOCAB, POSITIONS, START, END = 606, 64, 2, 2
GROUPS, SUMS = 2, (1.7, -0.6)
MIN_GAP, MIN_BEAM_MARGIN, MIN_CHANGE = 2e-3, 3e-4, 0.1
FORCED = {"forced_bos_token_id": 0, "forced_eos_token_id": 2}

FIXTURES = {
    "bart_gqa_g2": {"seed": 51000, "heads": 8},
    "bart_wgqa_g2": {"seed": 52200, "heads": 4},
    "bart_colwgqa_g2": {"seed": 53200, "heads": 8},
    "bart_rowwgqa_g2": {"seed": 54000, "heads": 4},
}
MEMO = ("Please move the planning meeting to Thursday at ten. The budget sheet is not ready, and two of the suppliers "
        "have asked for more time.")
CASES = [
    {"name": "only_ends", "steps": 8},
    {"name": "short", "text": "The harbour ferry was late again.", "length": 9, "steps": 16},
    {"name": "memo", "text": MEMO, "length": 33, "steps": 16},
]
GREEDY = [{"max_new_tokens": 40, **FORCED}, {"max_new_tokens": 32, "repetition_penalty": 1.3}]
BEAMS = [
    {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "min_length": 20, "max_length": 48,
     "early_stopping": True, **FORCED},
    {"num_beams": 2, "num_return_sequences": 2, "length_penalty": 0.6, "early_stopping": False, "max_length": 40},
]


def variant_of(name):
    return name.split("_")[1]


def make_config(name, heads):
    return {
        "model_type": "bart", "architectures": ["BartForConditionalGeneration"], "d_model": 64,
        "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": heads,
        "encoder_ffn_dim": 48, "decoder_ffn_dim": 64, "max_position_embeddings": POSITIONS,
        "activation_function": "gelu", "scale_embedding": False, "dropout": 0.1, "attention_dropout": 0.0,
        "activation_dropout": 0.0, "init_std": 0.02, "use_cache": True, "is_encoder_decoder": True,
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": END, "decoder_start_token_id": START,
        "vocab_size": VOCAB, "torch_dtype": "float16",
        "attention_variant": variant_of(name), "num_key_value_heads": GROUPS,
    }


GENERATION = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": END, "decoder_start_token_id": START,
              "num_beams": 4, "length_penalty": 2.0, "max_length": 50, "min_length": 12, "no_repeat_ngram_size": 3,
              "early_stopping": True, **FORCED}


def head_weights(shape, normal, turn):
    """[H, n] whose sums over a group are 1.7 in one and -0.6 in the other, in every column."""
    w = 0.5 * normal(*shape).view(GROUPS, -1, shape[1])
    want = torch.tensor([SUMS[(turn + g) % len(SUMS)] for g in range(GROUPS)]).view(GROUPS, 1, 1)
    return (w + (want - w.sum(1, keepdim=True)) / w.shape[1]).flatten(0, 1)


def make_tensors(c, seed):
    """Random weights under Hugging Face names, scaled so that every sublayer matters and the logits are spread."""
    rng = torch.Generator().manual_seed(seed)
    d_model, t, turn = c["d_model"], {}, 0

    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def norm(name, around=1.0):
        t[name + ".weight"] = around * (0.7 + 0.6 * torch.rand(d_model, generator=rng))
        t[name + ".bias"] = 0.2 * normal(d_model)

    def linear(name, rows, cols, std, bias):
        t[name + ".weight"] = normal(rows, cols) * std / math.sqrt(cols)
        t[name + ".bias"] = normal(rows) * bias

    def attention(p, heads, grouped):
        nonlocal turn
        pooled = math.sqrt(heads / GROUPS) if grouped and c["attention_variant"] == "gqa" else 1.0
        linear(p + "q_proj", d_model, d_model, 2.5, 0.3)
        linear(p + "k_proj", d_model, d_model, pooled, 0.4)
        linear(p + "v_proj", d_model, d_model, pooled, 0.4)
        linear(p + "out_proj", d_model, d_model, 1.0 if grouped else 3.0, 0.2)
        columns = {"wgqa": 1, "colwgqa": d_model // heads, "rowwgqa": d_model}.get(c["attention_variant"])
        if grouped and columns:
            for n in ("wk1", "wv1"):
                t[p + n] = head_weights((heads, columns), normal, turn)
                turn += 1

    t["model.shared.weight"] = normal(VOCAB, d_model) * 0.3
    t["model.shared.weight"][[0, 1, 3]] *= 0.1  # ids that a text has not are hardly ever the best
    t["final_logits_bias"] = 0.5 * normal(1, VOCAB)
    t["final_logits_bias"][:, [0, 1, 3]] = -3.0
    t["final_logits_bias"][:, END] = 0.5
    for stack in ("encoder", "decoder"):
        t[f"model.{stack}.embed_positions.weight"] = normal(POSITIONS + OFFSET, d_model) * 0.7
        norm(f"model.{stack}.layernorm_embedding")
        for i in range(c[f"{stack}_layers"]):
            p = f"model.{stack}.layers.{i}."
            attention(p + "self_attn.", c[f"{stack}_attention_heads"], stack == "decoder")
            norm(p + "self_attn_layer_norm")
            if stack == "decoder":
                attention(p + "encoder_attn.", c["decoder_attention_heads"], True)
                norm(p + "encoder_attn_layer_norm")
            linear(p + "fc1", c[f"{stack}_ffn_dim"], d_model, 1.5, 0.2)
            linear(p + "fc2", d_model, c[f"{stack}_ffn_dim"], 3.0 if stack == "encoder" else 9.0, 0.2)  # or tokens repeat
            last = stack == "decoder" and i + 1 == c["decoder_layers"]
            norm(p + "final_layer_norm", 1.3 if last else 1.0)
    return {k: v.half().contiguous() for k, v in t.items()}


def write_checkpoint(folder, config, tensors):
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", GENERATION)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    for path in TOKENIZER.iterdir():
        shutil.copyfile(path, folder / path.name)


def repeated(ref):
    """The tensors of an MHA model that answers the same: heads folded into groups, and given to each query head."""
    c, out = ref.config, {}
    for name, value in ref.t.items():
        out[name if name == "final_logits_bias" else "model." + name] = value.float().clone()
    weight_of = {"wgqa": lambda w: w[:, :, None], "colwgqa": lambda w: w[:, :, None], "rowwgqa": lambda w: w[:, None]}
    for (kind, _), a in ref.attn.items():
        for n in ("k", "v") if kind != "encoder" else ():
            p = f"model.{a.prefix}{n}_proj."
            weight, bias = out[p + "weight"].view(a.heads, a.d, -1), out[p + "bias"].view(a.heads, a.d)
            w = out.pop(f"model.{a.prefix}w{n}1", torch.full((a.heads, 1), GROUPS / a.heads))
            weight = weight * weight_of.get(a.variant, weight_of["wgqa"])(w)
            bias = bias * (w if a.variant != "rowwgqa" else GROUPS / a.heads)
            for key, x in (("weight", weight), ("bias", bias)):
                x = x.unflatten(0, (GROUPS, -1)).sum(1).repeat_interleave(a.heads // GROUPS, 0)
                out[p + key] = x.reshape(c["d_model"], *x.shape[2:]).contiguous()
    return out


class HuggingFace:
    def __init__(self, ref):
        with tempfile.TemporaryDirectory() as place:
            write_json(Path(place) / "config.json", dict(ref.config, torch_dtype="float32"))
            save_file(repeated(ref), Path(place) / "model.safetensors", {"format": "pt"})
            self.model = transformers.BartForConditionalGeneration.from_pretrained(place, dtype=torch.float32).eval()
        self.model.generation_config = transformers.GenerationConfig(
            decoder_start_token_id=START, eos_token_id=END, pad_token_id=1)

    def logits(self, ids, decoder_ids):
        return self.model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([decoder_ids])).logits

    def generate(self, ids, **o):
        ids = torch.tensor([ids])
        # generate() sizes its cache by the encoder's depth, and fails where the decoder is deeper
        out = self.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, use_cache=False,
                                  return_dict_in_generate=True, output_scores=True, **o)
        return [trim(row) for row in out.sequences]


def trim(ids):
    """Cuts what generate() fills up after the first end, which is not the start token."""
    ids = [int(i) for i in ids]
    return ids[:ids.index(END, 1) + 1] if END in ids[1:] else ids


def case_ids(tokenizer, case):
    if "text" not in case:
        return [0, END]
    return [0] + tokenizer.encode(case["text"], add_special_tokens=False)[:case["length"] - 2] + [END]


def runs_of(ref, exact, ids):
    """Greedy runs and searches of a case; raises Rejected where one is dull or too close to call."""
    greedy, beams = [], []
    for o in GREEDY:
        out, gap = ref.greedy(ids, num_beams=1, **o)
        if gap < MIN_GAP or len(out) < 8 or (len(out) > 30 and len(set(out)) < 8):
            raise Rejected(f"greedy: gap {gap:.1e}, {len(out)} ids, {len(set(out))} distinct")
        greedy.append((o, out, gap))
    for o in BEAMS:
        sequences, scores, margin = ref.beam_search(ids, **o)
        if margin < MIN_BEAM_MARGIN:
            raise Rejected(f"beams: margin {margin:.1e}")
        beams.append((o, sequences, scores, margin))
    for o, out, _ in greedy:
        assert exact.greedy(ids, **o)[0] == out
    off = 0.0
    for o, sequences, scores, _ in beams:
        again = exact.beam_search(ids, **o)
        assert again[0] == sequences
        off = max(off, max(abs(a - b) for a, b in zip(again[1], scores)))
    return greedy, beams, off


def logits_change(ref, ids, forced):
    """By how much logits move if the biases of V are merged by another rule, or left out: a wrong rule must be seen."""
    at = [p for p in ref.t if p.startswith("decoder.") and p.endswith("v_proj.bias")]
    kept, right, out = {p: ref.t[p] for p in at}, ref.logits([ids], [forced]), {}
    scales = {"no_bias": 0.0, "sum_instead": None, "mean_instead": None}
    for name in scales:
        for p in at:
            ref.t[p] = other_bias(ref, p, kept[p], name)
        out[name] = (ref.logits([ids], [forced]) - right).abs().max().item()
    ref.t.update(kept)
    return {k: v for k, v in out.items() if not (k == "mean_instead" and ref.config["attention_variant"] in ("gqa", "rowwgqa"))}


def other_bias(ref, name, bias, rule):
    """The biases of all heads that give each group the sum or the mean of its heads' biases, or none."""
    if rule == "no_bias":
        return torch.zeros_like(bias)
    a = next(a for a in ref.attn.values() if name.startswith(a.prefix))
    shape = (GROUPS, a.heads // GROUPS, a.d)
    want = bias.view(shape).sum(1, keepdim=True) if rule == "sum_instead" else bias.view(shape).mean(1, keepdim=True)
    if a.variant in ("gqa", "rowwgqa"):
        return want.expand(shape).reshape(-1)
    total = ref.t[a.prefix + "wv1"].view(*shape[:2], -1).sum(1, keepdim=True)
    return (want / total).expand(shape).reshape(-1)


def make_golden(folder, name, seed):
    ref, exact = BartReference(folder), BartReference(folder, torch.float64)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = [case_ids(tokenizer, case) for case in CASES]
    runs = [runs_of(ref, exact, ids) for ids in inputs]
    if sum(s[-1] == END and len(s) < 40 for _, beams, _ in runs for _, ss, *_ in beams for s in ss) < 2:
        raise Rejected("beams: hardly one ends by itself")
    hf, rng = HuggingFace(ref), torch.Generator().manual_seed(seed + 1)
    exact_off = {"encoder": 0.0, "logits": 0.0, "scores": max(off for *_, off in runs)}
    hf_off, change, cases = {"logits": 0.0}, {}, []
    for case, ids, (greedy, beams, _) in zip(CASES, inputs, runs):
        forced = [START] + torch.randint(4, VOCAB - 2, (case["steps"] - 1,), generator=rng).tolist()
        encoded, logits = ref.encode([ids]), ref.logits([ids], [forced])
        for key, a, b in (("encoder", encoded, exact.encode([ids])), ("logits", logits, exact.logits([ids], [forced]))):
            exact_off[key] = max(exact_off[key], (a - b).abs().max().item())
        hf_off["logits"] = max(hf_off["logits"], (hf.logits(ids, forced) - logits).abs().max().item())
        for k, v in logits_change(ref, ids, forced).items():
            change[k] = max(v, change.get(k, 0.0))
        for o, out, _ in greedy:
            assert hf.generate(ids, num_beams=1, **o) == [out], (name, case["name"], o)
        for o, sequences, *_ in beams:
            assert hf.generate(ids, **o) == sequences, (name, case["name"], o)
        cases.append(golden_case(case, ids, encoded[0], logits[0], forced, greedy, beams, tokenizer))
    assert hf_off["logits"] < 5e-5 and min(change.values()) > MIN_CHANGE, (hf_off, change)
    return {
        "format": 1, "fixture": name, "family": "bart", "seed": seed, "source": "bart_reference.py, unfolded",
        "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
        "margins": {"greedy": digits(min(g for gs, *_ in runs for *_, g in gs)),
                    "beams": digits(min(m for _, bs, _ in runs for *_, m in bs))},
        "difference_to_float64": digits_dict(exact_off), "difference_to_transformers": digits_dict(hf_off),
        "logits_change": digits_dict(change), "batches": [], "cases": cases,
    }


def golden_case(case, ids, encoded, logits, forced, greedy, beams, tokenizer):
    best, last = logits.topk(5), len(forced) - 1

    def text(out):
        return tokenizer.decode(out, skip_special_tokens=True)

    return {
        "name": case["name"],
        **({"text": case["text"], "max_source_length": case["length"]} if "text" in case else {}), "input_ids": ids,
        "encoder_output": encoder_summary(encoded), "decoder_input_ids": forced,
        "logits": {"rows": {str(i): digits(logits[i].tolist()) for i in (0, last)},
                   "top5_ids": best.indices.tolist(), "top5_values": digits(best.values.tolist())},
        "greedy_options": greedy[0][0], "greedy_ids": greedy[0][1], "greedy_min_gap": digits(greedy[0][2]),
        "summary": text(greedy[0][1]),
        "greedy_more": [{"options": o, "ids": out, "min_gap": digits(gap)} for o, out, gap in greedy[1:]],
        "beams": [{"options": o, "sequences": s, "scores": digits(scores), "margin": digits(margin),
                   "summary": text(s[0])} for o, s, scores, margin in beams],
    }


def make(name, f):
    for seed in range(f["seed"], f["seed"] + 1000):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / name
            config = make_config(name, f["heads"])
            write_checkpoint(folder, config, make_tensors(config, seed))
            try:
                golden = make_golden(folder, name, seed)
            except Rejected as why:
                print(f"  {name} seed {seed}: {why}", flush=True)
                continue
            write_golden(folder / "golden.json", golden)
            target = HERE / "families" / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
        size = sum(p.stat().st_size for p in target.iterdir()) // 1024
        print(f"{name}: seed {seed}, {size} KiB, {json.dumps({k: golden[k] for k in golden if k[:4] in ('diff', 'logi', 'marg')})}")
        return
    raise SystemExit(f"{name}: no seed found")


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    for name, f in FIXTURES.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, f)


if __name__ == "__main__":
    main()
