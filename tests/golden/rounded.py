"""Reference with the roundings of --dtype and --kv-dtype, matrix by matrix.

int8 weights: the hidden channels of each feed-forward are evened out by powers of two; then matrices are symmetric, a
scale an output row (largest / 127, to nearest even), after heads are folded; the input rows of their products alike, a
scale a row; exact sums. The embedding is looked up in bf16. Keys and values: bf16, or int8 with a scale a KV head and
token. All sums, norms, the softmax, its queries and the residual stream are float32.
"""
import torch

from reference import Reference


def int8_rows(x):
    """x: [..., K]. Returns whole numbers from -127 to 127 and what one is worth in each row: [..., 1]."""
    scale = x.abs().amax(-1, keepdim=True) / 127
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return torch.round(x / scale), scale


class Matrix:
    """A matrix of a model, [N, K], and its product with rows that are rounded as it is: "f32", "bf16" or "int8"."""

    def __init__(self, w, kind):
        self.kind = kind
        if kind == "int8":
            w, self.scale = int8_rows(w)
            w = w.double() if w.shape[1] * 127 ** 2 > 2 ** 24 else w  # sums of whole numbers stay exact
        self.w = w.bfloat16().float() if kind == "bf16" else w

    def __call__(self, x):
        if self.kind == "int8":
            x, scale = int8_rows(x)
            return (x.to(self.w.dtype) @ self.w.T).float() * scale * self.scale.T
        return (x.bfloat16().float() if self.kind == "bf16" else x) @ self.w.T


def rounded_kv(project_kv, kind):
    """Attention.project_kv with K and V as a page of this type gives them back."""
    def stored(x):
        if kind == "int8":
            whole, scale = int8_rows(x)
            return whole * scale
        return x.bfloat16().float() if kind == "bf16" else x
    return lambda x, linear: tuple(stored(t) for t in project_kv(x, linear))


def equalize(ffn, gain):
    """Cross-layer equalization of one feed-forward, {name: [N, K]}, by powers of two, which no float rounds."""
    up = "wi_1" if "wi_1" in ffn else "wi"
    r1 = torch.stack([(w * gain).norm(dim=1) for n, w in ffn.items() if n != "wo"]).prod(0)
    bits = (r1 / ffn["wo"].abs().amax(0)).log2() / 2
    held = bits.isfinite()
    scale = torch.where(held, (bits - bits[held].mean()).round().exp2(), torch.ones_like(bits))
    return {**ffn, up: ffn[up] / scale[:, None], "wo": ffn["wo"] * scale}


class Rounded(Reference):
    def __init__(self, folder, weights, kv, lm_head=None, equalized=True):
        """weights, kv: "f32", "bf16" or "int8". lm_head: the type of weights unless given. equalized: under int8."""
        super().__init__(folder)
        if weights == "int8" and equalized:
            self.ffn = {p: equalize(m, self.t[p.replace("DenseReluDense", "layer_norm.weight")])
                        for p, m in self.ffn.items()}
        self.lm_head = Matrix(self.lm_head, lm_head or weights)
        if weights != "f32":
            self.embedding = self.embedding.bfloat16().float()
        for (stack, _), a in self.attn.items():
            a.q, a.k, a.v, a.o = (Matrix(w, weights) for w in (a.q, a.k, a.v, a.o))
            if stack != "encoder":
                a.project_kv = rounded_kv(a.project_kv, kv)
            elif weights != "f32":  # nothing is stored of it, but its products are of bf16
                a.project_kv = rounded_kv(a.project_kv, "bf16")
        self.ffn = {p: {n: Matrix(w, weights) for n, w in m.items()} for p, m in self.ffn.items()}

    def _linear(self, x, w):
        return w(x)
