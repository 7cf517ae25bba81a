"""Writes byte_cases.json: what transformers' ByT5Tokenizer (5.5.4) makes of texts and of lists of ids.

    python make_byte_cases.py      # needs transformers

Half of the id lists are bytes of text, cut, doubled and swapped, so that characters break; half are any ids, sentinels among
them. The last folder has added tokens that are not special.
"""
import json
import random
from pathlib import Path

import transformers
from transformers import AddedToken, ByT5Tokenizer

HERE = Path(__file__).resolve().parent
TEXTS = ["", " ", "  two  spaces ", "a\tb\nc\r\n", "summarize: Bread needs flour.", "Café naïve ½ €", "日本語のテキスト", "😀 👩‍👩‍👧 🇫🇷",
         "\u0000\u0001\u007f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff", "e\u0301 \u200b\u2028\ufeff", "Русский текст, ελληνικά", "א ב ג", "x" * 300]
ADDED = ["<nl>", "{", "[NAME]", "ße"]


def lists(rng, texts):
    for text in texts * 4:
        ids = [b + 3 for b in text.encode()]
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(ids) + 1)
            ids = rng.choice([ids[:at], ids[at:], ids[:at] + [rng.randrange(3, 259)] + ids[at:], ids[at:] + ids[:at], ids[:at] + [1] + ids[at:]])
        yield ids
    for _ in range(120):
        yield [rng.randrange(0, 384) for _ in range(rng.randrange(1, 20))]


def cases(tokenizer, rng, texts):
    encode = [{"text": t, "ids": tokenizer(t, add_special_tokens=False).input_ids} for t in texts]
    decode = [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in lists(rng, texts)]
    return {"encode": encode, "decode": decode}


def main():
    rng = random.Random(7)
    blocks = [(32, 126), (32, 126), (0xA0, 0x24F), (0x400, 0x4FF), (0x4E00, 0x4FFF), (0x1F600, 0x1F64F)]
    texts = TEXTS + ["".join(chr(rng.randint(*rng.choice(blocks))) for _ in range(rng.randrange(1, 30))) for _ in range(60)]
    made = {"transformers": transformers.__version__, "plain": cases(ByT5Tokenizer(), rng, texts)}
    tokenizer = ByT5Tokenizer()
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ADDED])
    made["added"] = {"tokens": {t: tokenizer.convert_tokens_to_ids(t) for t in ADDED}}
    mixed = ["".join(rng.choice(ADDED + ["a", "é", " ", "<n", "日", "["]) for _ in range(rng.randrange(1, 12))) for _ in range(60)]
    made["added"] |= cases(tokenizer, rng, mixed)
    made["added"]["decode"] += [{"ids": c["ids"], "text": tokenizer.decode(c["ids"], skip_special_tokens=True)} for c in made["added"]["encode"]]
    (HERE / "byte_cases.json").write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
