"""Makes made/: small files as torch.save writes them, and the same tensors as safetensors.

    python make_torch_files.py      # needs torch and safetensors; made with torch 2.15.0

torch_made_test.cc reads both and wants the same names, types, shapes and values. What torch may do to a state dict is
in it: one storage under two names, a transposed tensor, a column of another, one that starts inside its storage, one
without elements, one without dimensions, parameters, halves, and buffers of types that nobody serves.
"""
import json
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent / "made"


def tensors():
    generator = torch.Generator().manual_seed(22)

    def noise(*shape, dtype=torch.float32):
        return torch.randn(*shape, generator=generator).to(dtype)

    base = noise(40)
    wide = noise(6, 10)
    out = OrderedDict()
    out["shared.weight"] = noise(8, 6)
    out["lm_head.weight"] = out["shared.weight"]  # tied
    out["transposed"] = noise(5, 7).t()
    out["permuted"] = noise(2, 3, 4).permute(2, 0, 1)
    out["column"] = wide[:, 3]
    out["columns"] = wide[:, 2:9:3]
    out["inside"] = base[7:31].view(4, 6)
    out["stored_inside"] = base[7:31].view(4, 6).t()
    out["bf16"] = noise(3, 5, dtype=torch.bfloat16)
    out["bf16_transposed"] = noise(3, 5, dtype=torch.bfloat16).t()
    out["f16"] = noise(9, dtype=torch.float16)
    out["parameter"] = torch.nn.Parameter(noise(4, 3))
    out["scalar"] = noise(1)[0].clone()
    out["empty"] = torch.empty(0, 5)
    for name, dtype in [("f64", torch.float64), ("i64", torch.int64), ("i32", torch.int32), ("i16", torch.int16),
                        ("i8", torch.int8), ("u8", torch.uint8), ("bool", torch.bool)]:
        out[name] = torch.arange(6).to(dtype)
    out["i64_transposed"] = torch.arange(6).view(2, 3).t()
    out._metadata = OrderedDict([("", {"version": 1}), ("lm_head", {"version": 1})])  # as Module.state_dict() has it
    return out


def main():
    HERE.mkdir(exist_ok=True)
    made = tensors()
    torch.save(made, HERE / "zip.bin")
    torch.save(made, HERE / "zip_protocol_5.bin", pickle_protocol=5)
    torch.save(made, HERE / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(made, HERE / "legacy_protocol_4.bin", _use_new_zipfile_serialization=False, pickle_protocol=4)
    torch.save(torch.nn.Linear(3, 2).state_dict(), HERE / "module.bin")
    torch.save({"epoch": 3, "state_dict": dict(made)}, HERE / "training.bin")
    torch.save({"state_dict": dict(made), "epoch": 3}, HERE / "training_legacy.bin", _use_new_zipfile_serialization=False)
    torch.save([made["f16"]], HERE / "list.bin")
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), HERE / "script.bin")
    names = list(made)
    parts = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    (HERE / "sharded").mkdir(exist_ok=True)
    for file, part in parts.items():
        torch.save({name: made[name] for name in part}, HERE / "sharded" / file)
    where = {name: file for file, part in parts.items() for name in part}
    index = {"metadata": {"total_size": 0}, "weight_map": where}
    (HERE / "sharded" / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")
    save_file({name: t.detach().clone().contiguous() for name, t in made.items()}, HERE / "expected.safetensors")
    (HERE / "expected.safetensors").chmod(0o644)  # save_file writes for its owner only


if __name__ == "__main__":
    main()
