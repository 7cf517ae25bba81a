"""BART with grouped decoder heads, for training: module names give the tensor names of Hugging Face checkpoints.

The same interface as T5 in model.py, and the same arithmetic: weights are float32, matrix products run in `compute`,
norms, the residual stream and the loss in float32. Shapes as in grouping.py.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from training import grouping, model

OFFSET = 2      # rows of the table of positions that no position has
DEVIATION = 0.02
ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu}


class Linear(nn.Module):
    """A weight [out, in] and a bias."""

    def __init__(self, rows, columns):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) * DEVIATION)
        self.bias = nn.Parameter(torch.zeros(rows))

    def forward(self, x, compute):
        return F.linear(x.to(compute), self.weight.to(compute), self.bias.to(compute))


class Norm(nn.LayerNorm):
    def __init__(self, config):
        super().__init__(config["d_model"], eps=1e-5)


class Attention(nn.Module):
    def __init__(self, config, kind, layer):
        super().__init__()
        wide = config["d_model"]
        self.variant = "mha" if kind == "encoder" else config.get("attention_variant", "mha")
        self.heads = config["encoder_attention_heads"] if kind == "encoder" else config["num_heads"]
        self.d = wide // self.heads
        every = grouping.even_groups(self.heads, self.heads)
        self.groups = every if kind == "encoder" else grouping.groups_of(config, kind, layer)
        self.stored = self.heads if kind == "encoder" else grouping.stored_heads(config, kind, layer)
        self.kv_of = [next(g for g, members in enumerate(self.groups) if h in members) for h in range(self.heads)]
        self.q_proj, self.out_proj = Linear(wide, wide), Linear(wide, wide)
        self.k_proj, self.v_proj = (Linear(self.stored * self.d, wide) for _ in range(2))
        if self.variant in grouping.WEIGHTED:
            shape, start = grouping.weight_shape(self.variant, config), len(self.groups) / self.heads
            self.wk1, self.wv1 = (nn.Parameter(torch.full(shape, start)) for _ in range(2))

    def _folded(self, linear, learned):
        """Weight [G*d, D] and bias [G*d]; what is stored grouped is used as it is."""
        if self.stored == len(self.groups) and self.variant not in grouping.WEIGHTED:
            return linear.weight, linear.bias
        rows = self.variant == "rowwgqa"
        return (grouping.fold(linear.weight.view(self.stored, self.d, -1), self.groups, learned, rows),
                grouping.fold_bias(linear.bias.view(self.stored, self.d), self.groups, learned, rows))

    def project_kv(self, x, compute):
        """K and V, [B, G, S, d], of x: [B, S, D]."""
        kv = (self._folded(m, getattr(self, name, None)) for m, name in ((self.k_proj, "wk1"), (self.v_proj, "wv1")))
        return tuple(F.linear(x.to(compute), w.to(compute), b.to(compute)).unflatten(-1, (len(self.groups), self.d))
                     .transpose(1, 2) for w, b in kv)

    def forward(self, x, kv, bias, compute):
        """x: [B, T, D]; bias: scores to add, mask included."""
        k, v = kv if len(self.groups) == self.heads else (y[:, self.kv_of] for y in kv)
        q = self.q_proj(x, compute).unflatten(-1, (self.heads, self.d)).transpose(1, 2) * self.d**-0.5
        out = torch.softmax(q @ k.transpose(-1, -2) + bias.to(compute), -1) @ v
        return self.out_proj(out.transpose(1, 2).flatten(2), compute).float()


class Layer(nn.Module):
    def __init__(self, config, stack, i):
        super().__init__()
        self.self_attn = Attention(config, "self" if stack == "decoder" else "encoder", i)
        self.self_attn_layer_norm = Norm(config)
        if stack == "decoder":
            self.encoder_attn = Attention(config, "cross", i)
            self.encoder_attn_layer_norm = Norm(config)
        self.fc1 = Linear(config[f"{stack}_ffn_dim"], config["d_model"])
        self.fc2 = Linear(config["d_model"], config[f"{stack}_ffn_dim"])
        self.final_layer_norm = Norm(config)
        self.activation = ACTIVATIONS[config["activation_function"]]

    def feed_forward(self, x, compute):
        return self.fc2(self.activation(self.fc1(x, compute)), compute).float()


class Stack(nn.Module):
    def __init__(self, config, name):
        super().__init__()
        self.embed_positions = nn.Embedding(config["max_position_embeddings"] + OFFSET, config["d_model"])
        nn.init.normal_(self.embed_positions.weight, std=DEVIATION)
        self.layernorm_embedding = Norm(config)
        self.layers = nn.ModuleList(Layer(config, name, i) for i in range(config[f"{name}_layers"]))


class Body(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.shared = nn.Embedding(config["vocab_size"], config["d_model"])
        nn.init.normal_(self.shared.weight, std=DEVIATION)
        self.encoder, self.decoder = Stack(config, "encoder"), Stack(config, "decoder")


class Bart(nn.Module):
    def __init__(self, config, compute=torch.float32, dropout=0.0):
        super().__init__()
        self.config, self.compute, self.dropout = config, compute, dropout
        self.model = Body(config)
        self.register_buffer("final_logits_bias", torch.zeros(1, config["vocab_size"]))
        self.scale = math.sqrt(config["d_model"]) if config["scale_embedding"] else 1.0

    def _drop(self, x):
        return model.drop(x, self.dropout, self.training)

    def _embed(self, stack, ids):
        places = stack.embed_positions.weight[OFFSET:OFFSET + ids.shape[1]]
        return self._drop(stack.layernorm_embedding(self.model.shared(ids) * self.scale + places))

    def _hidden(self, mask):
        """Scores to add, [B, 1, 1, S], that leave padding out."""
        return ((1.0 - mask.float())[:, None, None, :] * model.NEVER).to(self.compute)

    def encode(self, ids, mask):
        """ids, mask: [B, S]. Returns [B, S, D]."""
        x, bias = self._embed(self.model.encoder, ids), self._hidden(mask)
        for layer in self.model.encoder.layers:
            a = layer.self_attn
            out = a(x, a.project_kv(x, self.compute), bias, self.compute)
            x = layer.self_attn_layer_norm(x + self._drop(out))
            x = layer.final_layer_norm(x + self._drop(layer.feed_forward(x, self.compute)))
        return x

    def memory(self, encoded, mask):
        """What the decoder keeps of a source: K and V of each layer, and the mask as scores to add."""
        return [layer.encoder_attn.project_kv(encoded, self.compute) for layer in self.model.decoder.layers], self._hidden(mask)

    def decode(self, memory, ids, seed=0):
        """Decoder output before the vocabulary, [B, T, D], for ids: [B, T] from the start token on."""
        every, hidden = memory
        future = torch.full((ids.shape[1], ids.shape[1]), model.NEVER).triu(1)
        x = self._embed(self.model.decoder, ids)
        for layer, cross_kv in zip(self.model.decoder.layers, every):
            a = layer.self_attn
            out = a(x, a.project_kv(x, self.compute), future, self.compute)
            x = layer.self_attn_layer_norm(x + self._drop(out))
            x = layer.encoder_attn_layer_norm(x + self._drop(layer.encoder_attn(x, cross_kv, hidden, self.compute)))
            x = layer.final_layer_norm(x + self._drop(layer.feed_forward(x, self.compute)))
        return x

    def vocabulary(self, x):
        """Logits of decoder output [..., D]."""
        return F.linear(x.to(self.compute), self.model.shared.weight.to(self.compute)).float() + self.final_logits_bias[0]

    def forward(self, ids, mask, decoder_ids, seed=0):
        """Teacher-forced logits [B, T, V]."""
        return self.vocabulary(self.decode(self.memory(self.encode(ids, mask), mask), decoder_ids, seed))

    def loss(self, ids, mask, labels, seed=0, smoothing=0.0):
        return model.loss(self, ids, mask, labels, seed, smoothing)
