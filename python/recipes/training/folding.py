"""A grouped checkpoint as plain MHA: each KV head repeated for the query heads that it serves. Answers stay the same."""
from training import checkpoint, families, grouping


def head_repeated(config, tensors):
    """(config, tensors) in float32 for engines that know no grouping. Only for groupings that are fixed at load."""
    heads, d, variant = config["num_heads"], config["d_kv"], config.get("attention_variant", "mha")
    if variant == "mha":
        return config, tensors
    if variant in grouping.KEY_DRIVEN + ("pgqa",):
        raise ValueError(f"{variant} decides its heads as it runs")
    made, family = {}, families.of(config)
    tensors = family.named(tensors)
    for name, t in checkpoint.pooled(config, tensors).items():
        if name.endswith((".wk1", ".wv1")):
            continue
        at = family.projection(name)
        if at is not None:
            groups = grouping.groups_of(config, at.kind, at.layer)
            if variant not in grouping.STORED_GROUPED:
                t = grouping.fold_part(t, heads, d, groups, tensors.get(at.learned), rows=variant == "rowwgqa")
            kv_of = [next(g for g, members in enumerate(groups) if h in members) for h in range(heads)]
            t = t.unflatten(0, (len(groups), d))[kv_of].flatten(0, 1)
        made[name] = t
    plain = {k: v for k, v in config.items() if k not in ("head_order", "head_groups")}
    return {**plain, "attention_variant": "mha", "num_key_value_heads": heads}, made
