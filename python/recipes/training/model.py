"""T5 with grouped decoder heads, for training: module names give the tensor names of Hugging Face checkpoints.

Weights are float32; matrix products run in `compute` (bfloat16 where the CPU has it), norms, the residual stream and the
loss in float32. Shapes as in grouping.py.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from training import grouping

NEVER = -1e30  # added to a score that must not count


def relative_bucket(relative, bidirectional, buckets, max_distance):
    """Bucket of key position minus query position, as Hugging Face's T5 has it (float32 logarithm)."""
    out = torch.zeros_like(relative)
    if bidirectional:
        buckets //= 2
        out = (relative > 0).long() * buckets
        distance = relative.abs()
    else:
        distance = (-relative).clamp(min=0)
    exact = buckets // 2
    ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
    return out + torch.where(distance < exact, distance, far)


def drop(x, share, training):
    """Dropout whose share is rounded to 256ths: one random byte an element, a seventh of F.dropout's time on a CPU."""
    cut = round(256 * share)
    if not training or cut == 0:
        return x
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-2**63, None)
    kept = words.view(torch.int8)[:x.numel()].ge_(cut - 128)  # 0 or 1
    return x * kept.view(x.shape).to(x.dtype).mul_(256 / (256 - cut))


class Matrix(nn.Module):
    """A weight [out, in] without bias."""

    def __init__(self, rows, columns, deviation):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) * deviation)

    def forward(self, x, compute):
        return F.linear(x.to(compute), self.weight.to(compute))


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config["d_model"]))
        self.eps = config["layer_norm_epsilon"]

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    def __init__(self, config, kind, layer):
        super().__init__()
        self.config, self.kind, self.layer = config, kind, layer
        self.heads, self.d = config["num_heads"], config["d_kv"]
        self.variant = "mha" if kind == "encoder" else config.get("attention_variant", "mha")
        self.groups = grouping.groups_of(config, kind, layer)
        self.stored = grouping.stored_heads(config, kind, layer)
        kv_of = {h: (g, members.index(h)) for g, members in enumerate(self.groups) for h in members}
        self.kv_of, self.slots = zip(*(kv_of[h] for h in range(self.heads)))
        wide, model = self.heads * self.d, config["d_model"]
        self.q = Matrix(wide, model, (model * self.d) ** -0.5)
        self.k = Matrix(self.stored * self.d, model, model**-0.5)
        self.v = Matrix(self.stored * self.d, model, model**-0.5)
        self.o = Matrix(model, wide, wide**-0.5)
        if self.variant in grouping.WEIGHTED:
            shape = grouping.weight_shape(self.variant, config)
            start = len(self.groups) / self.heads
            self.wk1, self.wv1 = (nn.Parameter(torch.full(shape, start)) for _ in range(2))
        if self.variant in grouping.CACHED:
            self.register_buffer("cached_norm", torch.zeros(len(self.groups)))
        if layer == 0 and kind != "cross":
            self.relative_attention_bias = nn.Embedding(config["relative_attention_num_buckets"], self.heads)
            nn.init.normal_(self.relative_attention_bias.weight, std=model**-0.5)

    def _folded(self, matrix, learned):
        """[G*d, D]; what is stored grouped is used as it is."""
        if self.stored == len(self.groups) and self.variant not in grouping.WEIGHTED:
            return matrix.weight
        weight = matrix.weight.view(self.stored, self.d, -1)
        return grouping.fold(weight, self.groups, learned, rows=self.variant == "rowwgqa")

    def project_kv(self, x, compute):
        """K and V, [B, G, S, d], of x: [B, S, D]."""
        kv = (self._folded(m, getattr(self, name, None)) for m, name in ((self.k, "wk1"), (self.v, "wv1")))
        return tuple(F.linear(x.to(compute), w.to(compute)).unflatten(-1, (len(self.groups), self.d)).transpose(1, 2)
                     for w in kv)

    def head_map(self, k, mask=None):
        """Key-driven variants: KV head of each query head, [B, H, 1 | T]; None for the others."""
        if self.variant not in grouping.KEY_DRIVEN:
            return None
        norms = grouping.key_norms(k, mask).transpose(1, 2)  # [B, S, G]
        if self.kind == "cross":
            norms = norms[:, -1:]
        cached = getattr(self, "cached_norm", None)
        heads = grouping.key_driven_map(self.variant, norms, self.heads, cached).transpose(1, 2)
        if self.training and cached is not None:
            cached.copy_(norms[:, -1].mean(0))  # the paper's cache: what the pass before had; only training moves it
        return heads

    def _mix(self, q, k, v, bias, dropout):
        p = torch.softmax(q @ k.transpose(-1, -2) + bias, -1)
        return drop(p, dropout, self.training) @ v

    def _mix_by_map(self, q, k, v, bias, heads, dropout):
        """As _mix, where the KV head depends on sequence and position: every pair is made, one of each is kept."""
        pick = heads.expand(-1, -1, q.shape[2])[..., None, None]
        scores = torch.einsum("bhtd,bgsd->bhtgs", q, k)
        scores = scores.gather(3, pick.expand(-1, -1, -1, 1, k.shape[2]))[:, :, :, 0]
        p = drop(torch.softmax(scores + bias, -1), dropout, self.training)
        out = torch.einsum("bhts,bgsd->bhtgd", p, v)
        return out.gather(3, pick.expand(-1, -1, -1, 1, self.d))[:, :, :, 0]

    def forward(self, x, kv, bias, compute, heads=None, dropout=0.0, seed=0, first=0):
        """x: [B, T, D]; bias: scores to add, mask included; first: position of x's first row."""
        k, v = kv
        q = self.q(x, compute).unflatten(-1, (self.heads, self.d)).transpose(1, 2)
        bias = bias.to(compute)
        if heads is not None:
            out = self._mix_by_map(q, k, v, bias, heads, dropout)
        else:
            if len(self.groups) != self.heads:
                k, v = k[:, list(self.kv_of)], v[:, list(self.kv_of)]
            out = self._mix(q, k, v, bias, dropout)
        if self.variant == "pgqa":
            drawn = grouping.uniforms(seed, self.layer, self.kind, self.heads, first + x.shape[1], self.d)[:, first:]
            out = out - grouping.noise(out.float(), drawn, self.slots).to(out.dtype)
        return self.o(out.transpose(1, 2).flatten(2), compute).float()


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        model, wide = config["d_model"], config["d_ff"]
        self.gated = config["feed_forward_proj"].startswith("gated")
        for name in ("wi_0", "wi_1") if self.gated else ("wi",):
            setattr(self, name, Matrix(wide, model, model**-0.5))
        self.wo = Matrix(model, wide, wide**-0.5)

    def forward(self, x, compute, dropout=0.0):
        if self.gated:
            x = F.gelu(self.wi_0(x, compute), approximate="tanh") * self.wi_1(x, compute)
        else:
            x = F.relu(self.wi(x, compute))
        return self.wo(drop(x, dropout, self.training), compute).float()


class Sublayer(nn.Module):
    """A norm and what it feeds, under the name that the checkpoint has for it."""

    def __init__(self, config, name, inner):
        super().__init__()
        setattr(self, name, inner)
        self.layer_norm = Norm(config)
        self.name = name

    @property
    def inner(self):
        return getattr(self, self.name)


class Block(nn.Module):
    def __init__(self, config, stack, i):
        super().__init__()
        kind = "self" if stack == "decoder" else "encoder"
        layers = [Sublayer(config, "SelfAttention", Attention(config, kind, i))]
        if stack == "decoder":
            layers.append(Sublayer(config, "EncDecAttention", Attention(config, "cross", i)))
        layers.append(Sublayer(config, "DenseReluDense", FeedForward(config)))
        self.layer = nn.ModuleList(layers)


class Stack(nn.Module):
    def __init__(self, config, name, count):
        super().__init__()
        self.block = nn.ModuleList(Block(config, name, i) for i in range(count))
        self.final_layer_norm = Norm(config)
        self.config, self.bidirectional = config, name == "encoder"

    def position_bias(self, queries, keys, first=0):
        """[1, H, queries, keys]; the first query is at position `first`."""
        c, table = self.config, self.block[0].layer[0].inner.relative_attention_bias.weight
        relative = torch.arange(keys)[None, :] - torch.arange(first, first + queries)[:, None]
        bucket = relative_bucket(relative, self.bidirectional, c["relative_attention_num_buckets"],
                                 c["relative_attention_max_distance"])
        bias = table[bucket].permute(2, 0, 1)[None]
        return bias if self.bidirectional else bias.masked_fill(relative > 0, NEVER)


def scales_output(config):
    """As transformers 5.5.4: T5 by its own key, else by the tie; mT5 never."""
    if config["model_type"] == "mt5":
        return False
    if "scale_decoder_outputs" in config:
        return bool(config["scale_decoder_outputs"])
    return config.get("tie_word_embeddings") is not False


def loss(model, ids, mask, labels, seed, smoothing):
    """Mean cross-entropy of labels [B, T] (-100 where there is none), and how many there are.

    smoothing: what share of a label's probability the whole vocabulary gets.
    """
    start = torch.full_like(labels[:, :1], model.config["decoder_start_token_id"])
    decoder_ids = torch.cat([start, labels[:, :-1].clamp(min=0)], 1)
    x = model.decode(model.memory(model.encode(ids, mask), mask), decoder_ids, seed)
    real = labels >= 0
    return F.cross_entropy(model.vocabulary(x[real]), labels[real], label_smoothing=smoothing), int(real.sum())


class T5(nn.Module):
    def __init__(self, config, compute=torch.float32, dropout=0.0):
        super().__init__()
        self.config, self.compute, self.dropout = config, compute, dropout
        self.shared = nn.Embedding(config["vocab_size"], config["d_model"])
        self.encoder = Stack(config, "encoder", config["num_layers"])
        self.decoder = Stack(config, "decoder", config.get("num_decoder_layers") or config["num_layers"])
        if config.get("separate_lm_head"):
            self.lm_head = Matrix(config["vocab_size"], config["d_model"], config["d_model"] ** -0.5)
        self.scale_output = scales_output(config)

    def _drop(self, x):
        return drop(x, self.dropout, self.training)

    def encode(self, ids, mask):
        """ids, mask: [B, S]. Returns [B, S, D]."""
        bias = self.encoder.position_bias(ids.shape[1], ids.shape[1])
        bias = (bias + (1.0 - mask.float())[:, None, None, :] * NEVER).to(self.compute)
        x = self._drop(self.shared(ids))
        for block in self.encoder.block:
            attention, feed = block.layer
            y = attention.layer_norm(x)
            kv = attention.inner.project_kv(y, self.compute)
            x = x + self._drop(attention.inner(y, kv, bias, self.compute, dropout=self.dropout))
            x = x + self._drop(feed.inner(feed.layer_norm(x), self.compute, self.dropout))
        return self._drop(self.encoder.final_layer_norm(x))

    def memory(self, encoded, mask):
        """What the decoder keeps of a source: per layer K, V and the head map, and the mask as scores to add."""
        layers = []
        for block in self.decoder.block:
            a = block.layer[1].inner
            kv = a.project_kv(encoded, self.compute)
            layers.append((kv, a.head_map(kv[0], mask)))
        return layers, ((1.0 - mask.float())[:, None, None, :] * NEVER).to(self.compute)

    def decode(self, memory, ids, seed=0):
        """Decoder output before the vocabulary, [B, T, D], for ids: [B, T] from the start token on."""
        layers, hidden = memory
        bias = self.decoder.position_bias(ids.shape[1], ids.shape[1])
        x = self._drop(self.shared(ids))
        for block, (cross_kv, cross_map) in zip(self.decoder.block, layers):
            own, cross, feed = block.layer
            y = own.layer_norm(x)
            kv = own.inner.project_kv(y, self.compute)
            options = {"dropout": self.dropout, "seed": seed}
            x = x + self._drop(own.inner(y, kv, bias, self.compute, own.inner.head_map(kv[0]), **options))
            y = cross.layer_norm(x)
            x = x + self._drop(cross.inner(y, cross_kv, hidden, self.compute, cross_map, **options))
            x = x + self._drop(feed.inner(feed.layer_norm(x), self.compute, self.dropout))
        return self._drop(self.decoder.final_layer_norm(x))

    def vocabulary(self, x):
        """Logits of decoder output [..., D]."""
        if self.scale_output:
            x = x * self.config["d_model"] ** -0.5
        weight = self.lm_head.weight if hasattr(self, "lm_head") else self.shared.weight
        return F.linear(x.to(self.compute), weight.to(self.compute)).float()

    def forward(self, ids, mask, decoder_ids, seed=0):
        """Teacher-forced logits [B, T, V]."""
        return self.vocabulary(self.decode(self.memory(self.encode(ids, mask), mask), decoder_ids, seed))

    def loss(self, ids, mask, labels, seed=0, smoothing=0.0):
        return loss(self, ids, mask, labels, seed, smoothing)
