#!/usr/bin/env python3
"""Writes embedding_ties.json: what transformers (5.5.4) makes of a checkpoint with some of the four embeddings.

    python3 tests/engine/model/make_embedding_ties.py     # needs torch, transformers and safetensors

Every subset of the four names, with values that differ, all alike, and with two alike; T5, mT5, umT5 and BART
(whose first three names begin with "model.").
"""
import itertools
import json
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

NAMES = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"]
BART_NAMES = ["model." + name for name in NAMES[:3]] + NAMES[3:]
SIZES = dict(vocab_size=3, d_model=2, d_kv=2, d_ff=2, num_layers=1, num_heads=1, decoder_start_token_id=0)


BART_SIZES = dict(vocab_size=3, d_model=2, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=2, decoder_ffn_dim=2,
                  encoder_attention_heads=1, decoder_attention_heads=1, max_position_embeddings=4, pad_token_id=1)


def values_of(names):
    """Different, all alike, and each pair alike."""
    yield {name: n + 1.0 for n, name in enumerate(names)}
    for alike in itertools.combinations(names, 2):
        yield {name: 9.0 if name in alike else n + 1.0 for n, name in enumerate(names)}
    if len(names) > 2:
        yield dict.fromkeys(names, 9.0)


def uses(model):
    stacks = getattr(model, "model", model)
    return {"encoder": stacks.encoder.embed_tokens.weight, "decoder": stacks.decoder.embed_tokens.weight,
            "lm_head": model.lm_head.weight}


def main():
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cases = []
    for kind, config, all_names in (
            (transformers.T5ForConditionalGeneration, transformers.T5Config(**SIZES), NAMES),
            (transformers.MT5ForConditionalGeneration, transformers.MT5Config(**SIZES), NAMES),
            (transformers.UMT5ForConditionalGeneration, transformers.UMT5Config(**SIZES), NAMES),
            (transformers.BartForConditionalGeneration, transformers.BartConfig(**BART_SIZES), BART_NAMES)):
        with tempfile.TemporaryDirectory() as place:
            kind(config).save_pretrained(place)
            file = Path(place) / "model.safetensors"
            rest = {k: t for k, t in load_file(file).items() if k not in all_names}
            for count in range(1, 5):
                for names in itertools.combinations(all_names, count):
                    for values in values_of(names):
                        save_file(rest | {k: torch.full((3, 2), v) for k, v in values.items()}, file, {"format": "pt"})
                        read = {use: w[0, 0].item() for use, w in uses(kind.from_pretrained(place)).items()}
                        cases.append({"model_type": config.model_type, "values": values, **read})
    path = Path(__file__).parent / "embedding_ties.json"
    path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    print(f"{len(cases)} cases, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
