#!/usr/bin/env python3
"""Writes beam_cases.json: beam searches over small tables of logits, by the algorithm of tests/golden/reference.py.

    python3 tests/engine/run/make_beam_cases.py          # needs torch and safetensors
    python3 tests/engine/run/make_beam_cases.py --hf     # also compares with transformers' generate()

The "model" looks at the last two tokens only: its logits are row (31 a + 7 b) % rows of a table, a the token before
the last (0 at the start), b the last. The file holds the log-softmax of the tables, as float32 with enough digits to
be read back exactly. Searches that a difference of 1e-4 could turn round are left out. Cases with "ends" have several
ids that end a sequence; --hf says that generate() of transformers 5.5.4 agrees with all of them.
"""
import json
import random
import sys
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "golden"))
from reference import Reference  # noqa: E402

START, EOS, MARGIN = 0, 1, 1e-4
TABLES = [(12, 11, 0.0), (12, 7, 1.5), (40, 13, 2.5), (40, 17, 1.0)]  # vocab, rows, what the end token gains
PENALTIES = [1.0, 0.0, 0.5, 2.0, -1.0, -0.5, float(numpy.float32(0.8))]


def row_of(ids, rows):
    return (31 * (ids[-2] if len(ids) > 1 else 0) + 7 * ids[-1]) % rows


class TableModel(Reference):
    """The reference's decoding over a table."""

    def __init__(self, table, ends=EOS):
        self.table, self.config = table, {"eos_token_id": ends, "decoder_start_token_id": START}

    def _start(self, input_ids):
        return None, [START]

    def decode(self, memory, ids, seed=0):
        return torch.stack([self.table[row_of(i, len(self.table))] for i in ids])[:, None]


def options_of(rng, width, early, length_penalty):
    o = {"num_beams": width, "early_stopping": early, "length_penalty": length_penalty,
         "num_return_sequences": rng.choice([1, min(2, width), min(4, width), width if width < 9 else 3]),
         "max_new_tokens": rng.choice([1, 3, 6, 9, 12, 12, 12])}
    o["min_new_tokens"] = rng.choice([0, 0, min(4, o["max_new_tokens"])])
    o["repetition_penalty"] = rng.choice([1.0, 1.0, 1.25, 0.75])
    o["no_repeat_ngram_size"] = rng.choice([0, 0, 2, 3])
    return o


def hugging_face(table, o, ends=EOS):
    """The same by transformers: a decoder whose prompt is the start token."""
    from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutput

    class Model(PreTrainedModel, GenerationMixin):
        config_class, main_input_name = PretrainedConfig, "input_ids"

        def __init__(self, config):
            super().__init__(config)
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, input_ids, **_):
            rows = torch.stack([table[row_of(i, len(table))] for i in input_ids.tolist()])
            return CausalLMOutput(logits=rows[:, None])

    config = PretrainedConfig(vocab_size=table.shape[1], num_hidden_layers=1, eos_token_id=ends, pad_token_id=0,
                              bos_token_id=START)
    kept = {k: v for k, v in o.items() if not (k == "no_repeat_ngram_size" and v == 0)}
    out = Model(config).eval().generate(torch.tensor([[START]]), use_cache=False, do_sample=False, pad_token_id=99,
                                        return_dict_in_generate=True, output_scores=True, **kept)
    return [[t for t in s if t != 99] for s in out.sequences.tolist()], out.sequences_scores.tolist()


def compare(table, o, ids, scores, ends=EOS):
    hf_ids, hf_scores = hugging_face(table, o, ends)
    assert hf_ids == ids, (o, hf_ids, ids)
    assert numpy.allclose(hf_scores, scores, rtol=1e-6, atol=0), (o, hf_scores, scores)


def main():
    rng, torch_rng = random.Random(4), torch.Generator().manual_seed(4)
    tables = []
    for vocab, rows, gain in TABLES:
        table = torch.randn(rows, vocab, generator=torch_rng) * 2
        table[:, EOS] += gain
        tables.append(table)
    cases, compared = [], 0
    grid = [(w, e, p) for w in range(1, 17) for e in (False, True, "never") for p in PENALTIES]
    for width, early, length_penalty in grid:
        o = options_of(rng, width, early, length_penalty)
        which = rng.choice([i for i, (vocab, _, _) in enumerate(TABLES) if vocab > 2 * width])
        ids, scores, margin = TableModel(tables[which]).beam_search([], **o)
        if margin < MARGIN:
            continue
        if "--hf" in sys.argv and width > 1:  # generate() searches greedily where there is one beam
            compare(tables[which], o, ids, scores)
            compared += 1
        scores = [float(f"{s:.9g}") for s in scores]
        cases.append({"table": which, **o, "early_stopping": str(early).lower(), "ids": ids, "scores": scores})
    for width, early, length_penalty in grid:  # the same again with several ends; `rng` has given all others theirs
        o = options_of(rng, width, early, length_penalty)
        which = rng.randrange(len(TABLES))
        vocab = TABLES[which][0]
        ends = sorted(rng.sample(range(vocab), rng.choice([2, 2, 3, min(16, vocab // 2)])))
        if max(2, 1 + len(ends)) * width + 1 > vocab:  # the reference looks one further than transformers
            continue
        ids, scores, margin = TableModel(tables[which], ends).beam_search([], **o)
        if margin < MARGIN:
            continue
        if "--hf" in sys.argv and width > 1:
            compare(tables[which], o, ids, scores, ends)
            compared += 1
        scores = [float(f"{s:.9g}") for s in scores]
        cases.append({"table": which, **o, "early_stopping": str(early).lower(), "ends": ends, "ids": ids,
                      "scores": scores})
    log_probs = [[[float(f"{v:.9g}") for v in row] for row in F.log_softmax(t, -1).tolist()] for t in tables]
    lines = ["{", '"tables": [', ",\n".join(json.dumps(t) for t in log_probs), "],", '"cases": [',
             ",\n".join(json.dumps(c) for c in cases), "]", "}", ""]
    (HERE / "beam_cases.json").write_text("\n".join(lines))
    print(f"{len(cases)} of {2 * len(grid)} searches written, {compared} compared with generate()")


if __name__ == "__main__":
    main()
