"""References with the roundings of --dtype and --kv-dtype, matrix by matrix: Rounded for T5, BartRounded for BART.

int8 weights: T5's hidden channels of each feed-forward are evened out by powers of two (BART's gelu has no gate, and
passes no factor on); then matrices are symmetric, a
scale an output row (largest / 127, to nearest even), after heads are folded; the input rows of their products alike, a
scale a row; exact sums. The embedding is looked up in bf16. Keys and values: bf16, or int8 with a scale a KV head and
token. All sums, norms, the softmax, its queries and the residual stream are float32; so are BART's biases and positions.
"""
import torch

import bart_reference
from bart_reference import BartReference
from reference import Reference, fold


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
    return lambda *x: tuple(stored(t) for t in project_kv(*x))


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


class FoldedAttention(bart_reference.Attention):
    """A layer of BART as a loader makes it, before it rounds: the scale of the scores in q, K and V folded to G heads,
    K without a bias, since softmax does not see it, V's in the bias of the output, since softmax's weights sum to 1."""

    def __init__(self, of, weights):
        """of: the layer unfolded, with its own biases."""
        self.heads, self.num_kv, self.d = of.heads, of.num_kv, of.d
        w, b = ({n: of.t[f"{of.prefix}{n}_proj.{what}"] for n in ("q", "k", "v", "out")} for what in ("weight", "bias"))
        folded = {n: self._fold(w[n], of.t.get(f"{of.prefix}w{n}1"), of.variant == "rowwgqa") for n in ("k", "v")}
        column = None if of.variant == "rowwgqa" else of.t.get(of.prefix + "wv1")  # a weight of inputs weights no bias
        v_bias = self._fold(b["v"][:, None], column).view(self.num_kv, self.d)
        v_bias = v_bias.repeat_interleave(self.heads // self.num_kv, 0).flatten()
        self.q, self.k, self.v, self.out = (Matrix(m, weights) for m in
                                            (w["q"] * self.d ** -0.5, folded["k"], folded["v"], w["out"]))
        self.q_bias = b["q"] * self.d ** -0.5
        self.out_bias = (b["out"].double() + w["out"].double() @ v_bias.double()).float()

    def _fold(self, x, head_weights, of_inputs=False):
        """x: [H * d, n], head_weights: None (mean), or [H, 1|d], or of_inputs [H, n]. Returns [G * d, n]."""
        if head_weights is not None:
            head_weights = (head_weights[:, None, :] if of_inputs else head_weights[:, :, None]).double()
        groups = torch.arange(self.heads).view(self.num_kv, -1)
        return fold(x.double().view(self.heads, self.d, -1), groups, head_weights).flatten(0, 1).float()

    def queries(self, x):
        return (self.q(x) + self.q_bias).unflatten(-1, (self.heads, self.d)).transpose(1, 2)

    def project_kv(self, x):
        return tuple(m(x).unflatten(-1, (self.num_kv, self.d)).transpose(1, 2) for m in (self.k, self.v))

    def output(self, x):
        return self.out(x) + self.out_bias


class BartRounded(BartReference):
    def __init__(self, folder, weights, kv, lm_head=None):
        """As Rounded."""
        super().__init__(folder)
        self.lm_head = Matrix(self.embedding, lm_head or weights)
        if weights != "f32":
            self.embedding = self.embedding.bfloat16().float()
        for key, of in self.attn.items():
            self.attn[key] = a = FoldedAttention(of, weights)
            a.project_kv = rounded_kv(a.project_kv, kv if key[0] != "encoder" else "f32" if weights == "f32" else "bf16")
        names = (n for n in self.t if n.endswith((".fc1.weight", ".fc2.weight")))
        self.ffn = {n.removesuffix(".weight"): Matrix(self.t[n], weights) for n in names}

    def _affine(self, name, x):
        return self.ffn[name](x) + self.t[name + ".bias"]

    def _scores(self, x):
        return self.lm_head(x) + self.t["final_logits_bias"]
