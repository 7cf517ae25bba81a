#!/usr/bin/env bash
# train_on.sh OUT FROM MINUTES [PYTHON]: trains a summarizer on with descriptions of Debian packages and mails; goes on where it was.
#   OUT/corpus, OUT/mails.jsonl, OUT/run/checkpoint (the model, with a golden file), OUT/rouge.txt
# apt must have the English descriptions of SUITES, which FROM may have seen, and of later ones (docs/training.md): only
# what is new since then is held out, and is given three times as often as the rest. Nearly half of the text is mails.
set -euo pipefail
usage='usage: train_on.sh OUT FROM MINUTES [PYTHON]'
out=$(realpath -m "${1:?$usage}")
from=$(realpath "${2:?$usage}")
minutes=${3:?$usage}
python=${4:-python3}
suites=${SUITES:-bookworm bullseye}
cd "$(dirname "$0")"

mkdir -p "$out"
[[ -d $out/corpus ]] || "$python" corpus.py "$out/corpus" --new-since $suites --held-out 155 --dev 40 --held-out-packages 60
[[ -f $out/mails.jsonl ]] || "$python" mails.py "$out/mails.jsonl" --count 90000 --strange 0.3 --words "$out/corpus/train.jsonl"
model=$out/run/checkpoint
[[ -d $model ]] || "$python" uptrain.py "$out/run" --from "$from" --minutes "$minutes" \
  --train "$out"/corpus/{train,new,new}.jsonl "$out/mails.jsonl" --held-out "$out/corpus/dev.jsonl" \
  --source-length 192 --target-length 48 --tokens 4096 --dropout 0.1 --label-smoothing 0.1 --optimizer muon --rate 0.005
[[ -f $model/golden.json ]] || "$python" golden.py "$model"
for texts in "$out/corpus/held_out.jsonl" "$out/corpus/packages.jsonl" mail_grammar/held_out.jsonl; do
  "$python" evaluate.py "$texts" "from=$from" "new=$model"
done | tee "$out/rouge.txt"
