"""Muon for matrices, AdamW for the rest, at rates relative to the size that each weight starts with.

T5's weights differ a hundredfold in size (embeddings 1, queries 0.01), so one absolute rate fits none of them; a rate of
0.02 moves each by about two percent of its size a step, as the Adafactor of T5's authors does.
"""
import torch

from training import families


def make(model, kind):
    """Optimisers whose groups have a "relative" rate to be multiplied by the schedule."""
    matrices, others, family = [], [], families.of(model.config)
    for name, p in model.named_parameters():
        size = family.start_size(name, p, model.config)
        if kind == "muon" and family.is_matrix(name):
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
