#!/usr/bin/env bash
# demo_model.sh OUT [PYTHON]: the demo model from nothing, about four hours on two cores of their own; goes on where it was.
#   OUT/corpus, OUT/1-pretrain, OUT/2-mha, OUT/3-wgqa/checkpoint (the model), OUT/rouge.txt
# apt must have English descriptions (docs/training.md). The evaluation is greedy, by PyTorch.
set -euo pipefail
out=$(realpath -m "${1:?usage: demo_model.sh OUT [PYTHON]}")
python=${2:-python3}
cd "$(dirname "$0")"

texts=(--train "$out/corpus/train.jsonl" --held-out "$out/corpus/held_out.jsonl")
scratch=(--optimizer muon --source-length 128 --target-length 64 --tokens 4096)

stage() {  # NAME SCRIPT ARGUMENTS...: unless it is finished
  local run=$out/$1
  [[ -d $run/checkpoint ]] || "$python" "$2" "$run" "${texts[@]}" "${@:3}"
}

mkdir -p "$out"
[[ -d $out/corpus ]] || "$python" corpus.py "$out/corpus"
stage 1-pretrain pretrain.py --like ../../models/demo "${scratch[@]}" --rate 0.02 --steps 3000
stage 2-mha uptrain.py --from "$out/1-pretrain/checkpoint" "${scratch[@]}" --rate 0.01 --dropout 0.1 \
  --steps 3600
stage 3-wgqa uptrain.py --from "$out/2-mha/checkpoint" --variant wgqa --kv-heads 2 --optimizer muon \
  --source-length 192 --target-length 48 --tokens 4096 --rate 0.004 --dropout 0.1 --steps 2400
[[ -f $out/3-wgqa/checkpoint/golden.json ]] || "$python" golden.py "$out/3-wgqa/checkpoint"
"$python" evaluate.py "$out/corpus/held_out.jsonl" "wgqa=$out/3-wgqa/checkpoint" | tee "$out/rouge.txt"
