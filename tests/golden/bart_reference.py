"""A small reference for BART whose decoder heads may be grouped, **unfolded**: every step projects the K and V of all H
heads with their biases, and only then combines heads into groups. reference.py has the searches.

What a group is (H heads, K_h = x W_h^T + b_h, groups of r = H / G heads in order; V alike, with its own weights):
    gqa       mean of K_h over the group
    wgqa      sum of w[h] K_h                               w is [H, 1]
    colwgqa   sum of w[h, dim] K_h[dim]                     w is [H, head_dim]
    rowwgqa   sum of (x * w[h]) W_h^T, and the mean of b_h  w is [H, d_model]; it weights inputs, and a bias has none
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from reference import WEIGHTED, Reference, read_tensors

OFFSET = 2  # rows of the table of positions that no position has
GROUPED = {"gqa"} | WEIGHTED


class Attention:
    """One attention layer. Shapes: B batch, S source, T target, H query heads, G KV heads, d head size, D d_model."""

    def __init__(self, tensors, prefix, heads, variant, kv_heads):
        self.t, self.prefix, self.heads, self.variant = tensors, prefix, heads, variant
        self.d = tensors[prefix + "q_proj.weight"].shape[0] // heads
        self.num_kv = kv_heads if variant in GROUPED else heads

    def _project(self, name, x):
        """All heads, with their biases: [B, H, S, d]."""
        t, p = self.t, f"{self.prefix}{name}_proj."
        return F.linear(x, t[p + "weight"], t[p + "bias"]).unflatten(-1, (self.heads, self.d)).transpose(1, 2)

    def _grouped(self, name, x):
        """K or V of every KV head: [B, G, S, d]."""
        shape, weights = (self.num_kv, self.heads // self.num_kv), self.t.get(f"{self.prefix}w{name}1")
        if self.variant == "rowwgqa":
            p = f"{self.prefix}{name}_proj."
            by_head = self.t[p + "weight"].unflatten(0, (self.heads, self.d))
            every = torch.einsum("bsD,hD,hdD->bhsd", x, weights, by_head).unflatten(1, shape).sum(2)
            bias = self.t[p + "bias"].view(*shape, self.d).mean(1)
            return every + bias[None, :, None]
        every = self._project(name, x)
        if self.variant in ("wgqa", "colwgqa"):
            return (every * weights[None, :, None]).unflatten(1, shape).sum(2)
        return every.unflatten(1, shape).mean(2)

    def project_kv(self, x):
        return self._grouped("k", x), self._grouped("v", x)

    def queries(self, x):
        return self._project("q", x) * self.d ** -0.5

    def output(self, x):
        """x: [B, T, H * d], what all heads gave."""
        return F.linear(x, self.t[self.prefix + "out_proj.weight"], self.t[self.prefix + "out_proj.bias"])

    def __call__(self, x, kv, mask):
        """x: [B, T, D]; kv: K, V of [B, G, S, d]; mask: added to the scores."""
        k, v = (y.repeat_interleave(self.heads // self.num_kv, 1) for y in kv)
        scores = self.queries(x) @ k.transpose(-1, -2) + mask
        return self.output((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class BartReference(Reference):
    def __init__(self, folder, dtype=torch.float32):
        self.config = c = json.loads((Path(folder) / "config.json").read_text())
        self.t = {k.removeprefix("model."): v.to(dtype) for k, v in read_tensors(folder).items()}
        self.dtype, self.embedding = dtype, self.t["shared.weight"]
        variant, kv_heads = c.get("attention_variant", "mha"), c.get("num_key_value_heads")
        self.attn = {}
        for i in range(c["encoder_layers"]):
            p = f"encoder.layers.{i}.self_attn."
            self.attn["encoder", i] = Attention(self.t, p, c["encoder_attention_heads"], "mha", None)
        for i in range(c["decoder_layers"]):
            for kind, name in (("decoder", "self_attn"), ("cross", "encoder_attn")):
                p = f"decoder.layers.{i}.{name}."
                self.attn[kind, i] = Attention(self.t, p, c["decoder_attention_heads"], variant, kv_heads)

    def _norm(self, name, x):
        w = self.t[name + ".weight"]
        return F.layer_norm(x, w.shape, w, self.t[name + ".bias"])

    def _affine(self, name, x):
        return F.linear(x, self.t[name + ".weight"], self.t[name + ".bias"])

    def _scores(self, x):
        return F.linear(x, self.embedding) + self.t["final_logits_bias"]

    def _ffn(self, p, x):
        return self._norm(p + "final_layer_norm", x + self._affine(p + "fc2", F.gelu(self._affine(p + "fc1", x))))

    def _embed(self, stack, ids):
        ids = torch.as_tensor(ids)
        scale = math.sqrt(self.config["d_model"]) if self.config.get("scale_embedding") else 1.0
        places = self.t[f"{stack}.embed_positions.weight"][OFFSET:][:ids.shape[1]]
        return self._norm(f"{stack}.layernorm_embedding", self.embedding[ids] * scale + places)

    def encode(self, ids, mask=None):
        """ids: [B, S], without padding. Returns [B, S, D]."""
        assert mask is None
        x = self._embed("encoder", ids)
        for i in range(self.config["encoder_layers"]):
            p, a = f"encoder.layers.{i}.", self.attn["encoder", i]
            x = self._norm(p + "self_attn_layer_norm", x + a(x, a.project_kv(x), 0.0))
            x = self._ffn(p, x)
        return x

    def memory(self, encoded, mask=None):
        return [self.attn["cross", i].project_kv(encoded) for i in range(self.config["decoder_layers"])]

    def decode(self, memory, ids, seed=0):
        """Teacher-forced logits: [B, T, V]. memory: of memory(), B = 1 or that of ids."""
        x, t = self._embed("decoder", ids), len(ids[0])
        future = torch.full((t, t), -math.inf, dtype=self.dtype).triu(1)
        for i in range(self.config["decoder_layers"]):
            p, a = f"decoder.layers.{i}.", self.attn["decoder", i]
            x = self._norm(p + "self_attn_layer_norm", x + a(x, a.project_kv(x), future))
            a, kv = self.attn["cross", i], [y.expand(len(x), -1, -1, -1) for y in memory[i]]
            x = self._norm(p + "encoder_attn_layer_norm", x + a(x, kv, 0.0))
            x = self._ffn(p, x)
        return self._scores(x)
