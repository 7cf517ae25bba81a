"""A grouped checkpoint as plain MHA: each KV head repeated for the query heads that it serves. Answers stay the same."""
from training import checkpoint, grouping


def head_repeated(config, tensors):
    """(config, tensors) in float32 for engines that know no grouping. Only for groupings that are fixed at load."""
    heads, d, variant = config["num_heads"], config["d_kv"], config.get("attention_variant", "mha")
    if variant == "mha":
        return config, tensors
    if variant in grouping.KEY_DRIVEN + ("pgqa",):
        raise ValueError(f"{variant} decides its heads as it runs")
    made = {}
    for name, t in checkpoint.pooled(config, tensors).items():
        if name.endswith((".wk1", ".wv1")):
            continue
        if name.startswith("decoder.") and name.endswith((".k.weight", ".v.weight")):
            attention, letter, _ = name.rsplit(".", 2)
            kind = "cross" if attention.endswith("EncDecAttention") else "self"
            groups = grouping.groups_of(config, kind, int(name.split(".")[2]))
            if variant not in grouping.STORED_GROUPED:
                learned = tensors.get(f"{attention}.w{letter}1")
                t = grouping.fold(t.view(heads, d, -1), groups, learned, rows=variant == "rowwgqa")
            kv_of = [next(g for g, members in enumerate(groups) if h in members) for h in range(heads)]
            t = t.view(len(groups), d, -1)[kv_of].flatten(0, 1)
        made[name] = t
    plain = {k: v for k, v in config.items() if k not in ("head_order", "head_groups")}
    return {**plain, "attention_variant": "mha", "num_key_value_heads": heads}, made
