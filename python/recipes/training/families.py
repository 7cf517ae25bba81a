"""What the recipes know of each family: its keys and their defaults, where its decoder keeps K and V, and its model.

A family is one class here. Whatever the family, a config as read has num_heads and d_kv of the decoder's attention, and
num_layers and num_decoder_layers: grouping.py asks for these.
"""
import re
import sys
from typing import NamedTuple

import torch

from training import bart, grouping, model

SMALLEST = 1e-3  # a weight that starts at zero moves as if it had this size


class Projection(NamedTuple):
    """A decoder's K or V: weight or bias of one attention."""
    attention: str  # prefix of the names of all that this attention has
    kind: str       # "self" or "cross"
    layer: int
    letter: str     # "k" or "v"
    part: str       # "weight" or "bias"

    @property
    def learned(self):
        """Name of its head weights."""
        return f"{self.attention}w{self.letter}1"


def measured(parameter):
    return max(SMALLEST, parameter.detach().square().mean().sqrt().item())


class Family:
    kinds = {}          # model_type: what config.json may leave out
    sizes = ()          # keys that must be whole numbers above 0
    other_names = {}    # keys that win over the usual ones
    own_ids = (0, 1)    # the start and the end where no file says one
    cross = ""          # the cross-attention among what `names` finds
    names = None        # of a decoder's K or V: attention, layer, which, k or v, weight or bias
    biases = False      # whether K and V have biases
    derived = ()        # keys that read() adds and no file has
    model = None

    @classmethod
    def read(cls, said, path):
        """config.json with the family's defaults."""
        config = cls.kinds[said["model_type"]] | said
        config |= {key: said[other] for other, key in cls.other_names.items() if other in said}
        for key in cls.sizes:
            if not isinstance(config[key], int) or config[key] < 1:
                sys.exit(f"{path}: {key}: {config[key]} is no size")
        config = cls.settled(config, said, path)
        cls.check_variant(config.get("attention_variant", "mha"), f"{path}: attention_variant:")
        return config

    @classmethod
    def check_variant(cls, variant, where):
        if variant not in grouping.VARIANTS:
            sys.exit(f"{where} {variant} is not known")
        if cls.biases and variant in grouping.KEY_DRIVEN + ("pgqa",):
            known = [v for v in grouping.VARIANTS if v not in grouping.KEY_DRIVEN + ("pgqa",)]
            sys.exit(f"{where} {variant} follows what K and V are as the model runs, and this family's have biases, which "
                     f"are folded away when it is served; take one of {', '.join(known)}")

    @classmethod
    def projection(cls, name):
        found = cls.names.fullmatch(name)
        if found is None:
            return None
        attention, layer, which, letter, part = found.groups()
        return Projection(attention, "cross" if which == cls.cross else "self", int(layer), letter, part)

    @staticmethod
    def named(tensors):
        """The tensors under the names that save_pretrained() writes."""
        return tensors

    @staticmethod
    def settled(config, said, path):
        """The config with what follows from it; exits where it cannot be trained."""
        raise NotImplementedError

    @staticmethod
    def tied(config, tensors, where):
        """The tensors under the names that the model has, with one embedding."""
        raise NotImplementedError

    @staticmethod
    def start_size(name, parameter, config):
        """Root mean square that rates of the weight are relative to (optimiser.py)."""
        raise NotImplementedError

    @staticmethod
    def is_matrix(name):
        """Whether Muon may train it."""
        raise NotImplementedError


class T5(Family):
    # What files leave out, as T5Config and MT5Config of transformers 5.5.4 have it; precis-server takes the same.
    defaults = {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
                "d_model": 512, "d_kv": 64, "pad_token_id": 0}
    kinds = {
        "t5": {**defaults, "vocab_size": 32128, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "feed_forward_proj": "relu"},
        "mt5": {**defaults, "vocab_size": 250112, "d_ff": 1024, "num_layers": 8, "num_heads": 6,
                "feed_forward_proj": "gated-gelu"},
    }
    sizes = ("d_model", "d_kv", "d_ff", "num_heads", "num_layers", "vocab_size")
    other_names = {"hidden_size": "d_model", "head_dim": "d_kv", "num_attention_heads": "num_heads",
                   "num_hidden_layers": "num_layers"}
    cross = "EncDecAttention"
    names = re.compile(r"(decoder\.block\.(\d+)\.layer\.\d\.(SelfAttention|EncDecAttention)\.)([kv])\.(weight)")
    activations = {"relu": ("relu", False), "gated-gelu": ("gelu_new", True)}  # dense_act_fn, is_gated_act
    model = model.T5

    @classmethod
    def settled(cls, config, said, path):
        config["num_decoder_layers"] = said.get("num_decoder_layers") or config["num_layers"]
        served = cls.activations.get(config["feed_forward_proj"])
        if served is None or served != (said.get("dense_act_fn", served[0]), said.get("is_gated_act", served[1])):
            sys.exit(f"{path}: feed_forward_proj {config['feed_forward_proj']} with dense_act_fn {said.get('dense_act_fn')} "
                     f"and is_gated_act {said.get('is_gated_act')}; relu and gated-gelu are known, with their own")
        return config

    @staticmethod
    def tied(config, tensors, where):
        """What has other names than shared.weight is tied as transformers 5.5.4 does it.

        Encoder and decoder train one matrix here; files in which theirs differ are refused.
        """
        shared, ties = "shared.weight", ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
        ties = ["lm_head.weight"] + ties if config["model_type"] == "t5" else ties + ["lm_head.weight"]
        found = {name: tensors[name] for name in [shared, *ties] if name in tensors}
        for n, name in enumerate(ties):
            if name in found and shared in found:
                if torch.equal(found[name], found[shared]):
                    found[name] = found[shared]
            elif name in found:
                found[shared] = found[name]
            elif shared in found:
                found[name] = found[shared]
            else:
                found |= {name: found[other] for other in reversed(ties[n + 1:]) if other in found}  # the first of them
        if shared not in found:
            sys.exit(f"{where}: {shared} is missing")
        one, other = found["encoder.embed_tokens.weight"], found["decoder.embed_tokens.weight"]
        if not torch.equal(one, other):
            sys.exit(f"{where}: encoder.embed_tokens.weight and decoder.embed_tokens.weight (or {shared}) differ: one "
                     "embedding is trained")
        rest = {name: t for name, t in tensors.items() if name not in (shared, *ties)}
        head = {} if torch.equal(found["lm_head.weight"], one) else {"lm_head.weight": found["lm_head.weight"]}
        return {**rest, shared: one, **head}

    @staticmethod
    def start_size(name, parameter, config):
        """The size that the weight has at the start of training from scratch."""
        if name.endswith((".q.weight", ".relative_attention_bias.weight")):
            return config["d_model"] ** -0.5 * (config["d_kv"] ** -0.5 if ".q." in name else 1.0)
        if name.endswith(("layer_norm.weight", "shared.weight")):
            return 1.0
        if parameter.ndim == 2 and min(parameter.shape) > 1 and "wk1" not in name and "wv1" not in name:
            return parameter.shape[1] ** -0.5
        return measured(parameter)

    @staticmethod
    def is_matrix(name):
        return name.endswith((".q.weight", ".k.weight", ".v.weight", ".o.weight", "wi.weight", "wi_0.weight",
                              "wi_1.weight", "wo.weight"))


class Bart(Family):
    """BART and DistilBART."""
    kinds = {"bart": {
        "vocab_size": 50265, "max_position_embeddings": 1024, "d_model": 1024, "encoder_layers": 12, "decoder_layers": 12,
        "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "encoder_attention_heads": 16, "decoder_attention_heads": 16,
        "activation_function": "gelu", "scale_embedding": False, "pad_token_id": 1}}
    sizes = ("vocab_size", "max_position_embeddings", "d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim",
             "decoder_ffn_dim", "encoder_attention_heads", "decoder_attention_heads")
    other_names = {"hidden_size": "d_model", "num_attention_heads": "encoder_attention_heads"}
    own_ids = (2, 2)
    cross = "encoder_attn"
    names = re.compile(r"(model\.decoder\.layers\.(\d+)\.(self_attn|encoder_attn)\.)([kv])_proj\.(weight|bias)")
    biases = True
    derived = ("num_heads", "d_kv", "num_layers", "num_decoder_layers")
    model = bart.Bart

    @staticmethod
    def settled(config, said, path):
        for key in ("encoder_attention_heads", "decoder_attention_heads"):
            if config["d_model"] % config[key]:
                sys.exit(f"{path}: {key}: {config[key]} heads do not divide d_model {config['d_model']}")
        if config["activation_function"] not in bart.ACTIVATIONS:
            sys.exit(f"{path}: activation_function: {config['activation_function']} is none of "
                     f"{', '.join(bart.ACTIVATIONS)}")
        heads = config["decoder_attention_heads"]
        return {**config, "num_heads": heads, "d_kv": config["d_model"] // heads,
                "num_layers": config["encoder_layers"], "num_decoder_layers": config["decoder_layers"]}

    @staticmethod
    def named(tensors):
        """Old files leave `model.` out, and have numbers of versions."""
        outside = ("lm_head.", "model.", "final_logits_bias")
        return {n if n.startswith(outside) else "model." + n: t for n, t in tensors.items()
                if not n.endswith(".version")}

    @classmethod
    def tied(cls, config, tensors, where):
        """All copies of the embedding are one, model.shared.weight; a bias of logits that is not there is 0."""
        named = cls.named(tensors)
        copies = ["model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
                  "lm_head.weight"]
        there = [n for n in copies if n in named]
        if not there:
            sys.exit(f"{where}: {copies[0]} is missing")
        for name in there[1:]:
            if not torch.equal(named[name], named[there[0]]):
                sys.exit(f"{where}: {there[0]} and {name} differ: one embedding is trained")
        rest = {n: t for n, t in named.items() if n not in copies}
        return {"final_logits_bias": torch.zeros(1, config["vocab_size"]), copies[0]: named[there[0]], **rest}

    @staticmethod
    def start_size(name, parameter, config):
        return measured(parameter)

    @staticmethod
    def is_matrix(name):
        return name.endswith(("_proj.weight", "fc1.weight", "fc2.weight"))


FAMILIES = {kind: family for family in (T5, Bart) for kind in family.kinds}


def of(config, path=None):
    """The family of a config; path: where it was read, for the error."""
    kind = config.get("model_type")
    if kind not in FAMILIES:
        sys.exit(f"{path}: model_type: {kind} is none of {', '.join(FAMILIES)}")
    return FAMILIES[kind]
