#!/usr/bin/env bash
# train_on.sh OUT FROM MINUTES [PYTHON]: trains a summarizer on with the descriptions of Debian packages; goes on where it was.
#   OUT/corpus, OUT/mails.jsonl, OUT/muon and OUT/adamw (two runs side by side, a thread each), OUT/model (their average),
#   OUT/rouge.txt
# apt must have the English descriptions of bullseye, bookworm and later suites (docs/training.md); FROM may have seen those
# of the first two, so that only what is new since then is held out, and given three times as often as the rest.
set -euo pipefail
usage='usage: train_on.sh OUT FROM MINUTES [PYTHON]'
out=$(realpath -m "${1:?$usage}")
from=$(realpath "${2:?$usage}")
minutes=${3:?$usage}
python=${4:-python3}
cd "$(dirname "$0")"

run() {  # NAME ARGUMENTS...: unless it is finished
  local at=$out/$1
  [[ -d $at/checkpoint ]] || OMP_NUM_THREADS=1 "$python" uptrain.py "$at" --from "$from" \
    --train "$out/corpus/train.jsonl" "$out/corpus/new.jsonl" "$out/corpus/new.jsonl" "$out/mails.jsonl" \
    --held-out "$out/corpus/dev.jsonl" --source-length 192 --target-length 48 --tokens 4096 --dropout 0.1 \
    --rate 0.005 --minutes "$minutes" "${@:2}"
}

mkdir -p "$out"
[[ -d $out/corpus ]] || "$python" corpus.py "$out/corpus" --new-since bookworm bullseye --held-out 155 --dev 40 \
  --held-out-packages 60
[[ -f $out/mails.jsonl ]] || "$python" mails.py "$out/mails.jsonl" --count 24000
run muon --optimizer muon --seed 1 &
first=$!
run adamw --optimizer adamw --seed 2
wait $first
[[ -d $out/model ]] || "$python" average.py "$out/model" "$out/muon/checkpoint" "$out/adamw/checkpoint"
[[ -f $out/model/golden.json ]] || "$python" golden.py "$out/model"
for texts in held_out packages; do
  "$python" evaluate.py "$out/corpus/$texts.jsonl" "from=$from" "model=$out/model"
done | tee "$out/rouge.txt"
