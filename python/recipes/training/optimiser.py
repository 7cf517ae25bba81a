"""Muon for matrices, AdamW for the rest, at rates relative to the size that each weight starts with.

T5's weights differ a hundredfold in size (embeddings 1, queries 0.01), so one absolute rate fits none of them; a rate of
0.02 moves each by about two percent of its size a step, as the Adafactor of T5's authors does.
"""
import torch

SMALLEST = 1e-3  # a weight that starts at zero moves as if it had this size


def start_size(name, parameter, config):
    """Root mean square that the weight has at the start of training from scratch."""
    if name.endswith((".q.weight", ".relative_attention_bias.weight")):
        return config["d_model"] ** -0.5 * (config["d_kv"] ** -0.5 if ".q." in name else 1.0)
    if name.endswith(("layer_norm.weight", "shared.weight")):
        return 1.0
    if parameter.ndim == 2 and min(parameter.shape) > 1 and "wk1" not in name and "wv1" not in name:
        return parameter.shape[1] ** -0.5
    return max(SMALLEST, parameter.detach().square().mean().sqrt().item())


def is_matrix(name):
    return name.endswith((".q.weight", ".k.weight", ".v.weight", ".o.weight", "wi.weight", "wi_0.weight",
                          "wi_1.weight", "wo.weight"))


def make(model, kind):
    """Optimisers whose groups have a "relative" rate to be multiplied by the schedule."""
    matrices, others = [], []
    for name, p in model.named_parameters():
        size = start_size(name, p, model.config)
        if kind == "muon" and is_matrix(name):
            # its update has the size of a fresh matrix of this shape: only queries start smaller
            matrices.append({"params": [p], "relative": size * p.shape[1] ** 0.5})
        else:
            others.append({"params": [p], "relative": size})
    made = [torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0, fused=True)]
    if matrices:
        made.append(torch.optim.Muon(matrices, lr=0.0, momentum=0.95, weight_decay=0.0,
                                     adjust_lr_fn="original"))
    return made


def set_rate(optimisers, rate):
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group["relative"]


def scheduled(progress, peak, warm_up):
    """The rate at a share of the run: up in a line, down to zero at its end."""
    if progress < warm_up:
        return peak * progress / warm_up
    return peak * max(0.0, (1.0 - progress) / (1.0 - warm_up))
