"""Head grouping for training: which query head reads which KV head, and what the KV heads are made of.

The definitions are those of docs/design/attention_variants.md; tests/golden/reference.py is the oracle.
Shapes: B batch, T target length, S source length, H query heads, G KV heads, d head size, D d_model.
"""
import numpy as np
import torch

WEIGHTED = ("wgqa", "colwgqa", "rowwgqa")
KEY_DRIVEN = ("kdgqa", "dgqa_diff", "dgqa_ema")
CACHED = ("dgqa_diff", "dgqa_ema")
STORED_GROUPED = ("gqa", "mqa", "pgqa") + KEY_DRIVEN
VARIANTS = ("mha", "gqa", "mqa") + WEIGHTED + ("simgqa", "qcqa") + KEY_DRIVEN + ("pgqa",)


def even_groups(heads, groups):
    each = heads // groups
    return [list(range(g * each, (g + 1) * each)) for g in range(groups)]


def groups_of(config, kind, layer):
    """Lists of the query heads that each KV head serves; for key-driven variants where they start from."""
    heads, count = config["num_heads"], config.get("num_key_value_heads", config["num_heads"])
    variant = config.get("attention_variant", "mha")
    if kind == "encoder" or variant == "mha":
        return even_groups(heads, heads)
    if variant == "qcqa":
        return config["head_groups"][kind][layer]
    groups = even_groups(heads, count)
    if variant == "simgqa":
        order = config["head_order"][kind][layer]
        groups = [[order[i] for i in group] for group in groups]
    return groups


def stored_heads(config, kind, layer):
    """KV heads that k.weight and v.weight have in a checkpoint."""
    grouped = kind != "encoder" and config.get("attention_variant", "mha") in STORED_GROUPED
    return len(groups_of(config, kind, layer)) if grouped else config["num_heads"]


def weight_shape(variant, config):
    """Shape of wk1 and wv1."""
    return config["num_heads"], {"wgqa": 1, "colwgqa": config["d_kv"], "rowwgqa": config["d_model"]}[variant]


def fold(weight, groups, learned=None, rows=False):
    """KV heads [G*d, D] of stored heads [H, d, D]: their mean, or with learned [H, 1|d|D] their weighted sum."""
    if learned is not None:
        weight = weight * (learned[:, None, :] if rows else learned[:, :, None])
    merged = torch.stack([weight[g].mean(0) if learned is None else weight[g].sum(0) for g in groups])
    return merged.flatten(0, 1)


def fold_bias(bias, groups, learned=None, rows=False):
    """Biases [G*d] of stored heads' [H, d], merged as their heads are: docs/design/attention_variants.md.

    ROWWGQA weights input dimensions and says nothing about a bias: its group takes the mean.
    """
    if learned is None or rows:
        return torch.stack([bias[g].mean(0) for g in groups]).flatten()
    return torch.stack([(bias * learned)[g].sum(0) for g in groups]).flatten()


def fold_part(part, stored, d, groups, learned=None, rows=False):
    """Weight [stored*d, D] or bias [stored*d] of all heads as that of the groups."""
    if part.ndim == 1:
        return fold_bias(part.view(stored, d), groups, learned, rows)
    return fold(part.view(stored, d, -1), groups, learned, rows)


def key_norms(k, mask=None):
    """Norms of the keys up to every position. k: [B, G, S, d]; mask: [B, S]. Returns [B, G, S]."""
    energy = k.detach().float().pow(2).sum(-1)
    if mask is not None:
        energy = energy * mask[:, None, :]
    return energy.cumsum(-1).sqrt()


def deal_heads(norms, heads, min_max):
    """How many query heads each KV head serves. norms: [N, G]. Returns [N, G] whole numbers that add up to heads."""
    count = norms.shape[-1]
    even = torch.tensor([heads // count + (g < heads % count) for g in range(count)])
    m = norms.float()
    if min_max:
        low, high = m.amin(-1, keepdim=True), m.amax(-1, keepdim=True)
        m = torch.where(high == low, torch.zeros_like(m), (m - low) / (high - low))
    total = m.sum(-1, keepdim=True)
    dealt = torch.round(m / total * heads)
    dealt = torch.where(total == 0, even.float(), dealt).long()
    for step, choose in ((-1, torch.argmax), (1, torch.argmin)):
        while True:
            off = (dealt.sum(-1) - heads) * -step > 0
            if not off.any():
                break
            dealt[off, choose(dealt[off], -1)] += step  # of equals the lowest index, as argmax and argmin have it
    return dealt


def key_driven_map(variant, norms, heads, cached=None):
    """KV head of every query head. norms: [..., G]. Returns [..., H]."""
    if variant == "dgqa_diff":
        norms = (norms - cached).abs()
    elif variant == "dgqa_ema":
        norms = 0.9 * norms + 0.1 * cached
    count = norms.shape[-1]
    if count == 1:
        return torch.zeros(*norms.shape[:-1], heads, dtype=torch.long)
    dealt = deal_heads(norms.reshape(-1, count), heads, variant == "kdgqa")
    ends = dealt.cumsum(-1)
    kv_of = (torch.arange(heads)[None, :, None] >= ends[:, None, :]).sum(-1)
    return kv_of.view(*norms.shape[:-1], heads)


def splitmix64(z):
    """One draw from every state of an array of uint64, wrapping."""
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniforms(seed, layer, kind, heads, length, d):
    """PGQA's numbers in [0, 1), [H, T, d]: a chain of draws over layer, kind, head, position and element."""
    state = splitmix64(np.array(seed % 2**64, dtype=np.uint64))
    for word in (layer, 1 if kind == "cross" else 0):
        state = splitmix64(state ^ np.uint64(word))
    for count in (heads, length, d):
        state = splitmix64(state[..., None] ^ np.arange(count, dtype=np.uint64))
    return torch.from_numpy((state >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24))


def noise(out, drawn, slots):
    """PGQA: noise with each row's mean and deviation. out: [B, H, T, d]; drawn: [H, T, d]; slots: place in the group."""
    u = drawn.clone()
    for head, slot in enumerate(slots):
        u[head, :, slot] = 0.0
    deviation = u.std(-1, keepdim=True)
    u = (u - u.mean(-1, keepdim=True)) / torch.where(deviation == 0, torch.ones_like(deviation), deviation)
    return u * out.std(-1, keepdim=True) + out.mean(-1, keepdim=True)
