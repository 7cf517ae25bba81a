"""Makes what the tokenizer's tests compare with: small models, a tokenizer.json, and ids of hard text.

    python make_tokenizer_cases.py

Needs sentencepiece, transformers, tokenizers and protobuf. Writes beside itself:
  tokenizers/NAME/spiece.model         tiny models of kinds that the fixtures do not have (not remade if there)
  tokenizer_json/tokenizer.json        spiece.model, as transformers' T5Tokenizer saves it
  tokenizer_hard_cases.json            texts, ids and decoded text by sentencepiece for every model; for spiece.model
                                       also what transformers' T5Tokenizer gives, where it differs
"""
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import sentencepiece
import transformers

HERE = Path(__file__).resolve().parent

MODELS = {
    # As mT5 falls back to bytes and has user-defined pieces; spaces are kept, no character rules.
    "byte_fallback": dict(vocab_size=600, byte_fallback=True, normalization_rule_name="identity",
                          remove_extra_whitespaces=False, user_defined_symbols=["<sep>", "▁<extra_id_0>", "  "]),
    # Pieces may hold spaces anywhere; text gets no space in front.
    "across_spaces": dict(vocab_size=500, split_by_whitespace=False, normalization_rule_name="identity",
                          add_dummy_prefix=False, control_symbols=["<ctl>"]),
    # The space stands behind a word.
    "space_suffix": dict(vocab_size=400, treat_whitespace_as_suffix=True, normalization_rule_name="identity",
                         unk_surface="<?>"),
}

SCRIPTS = {
    "latin": "Zażółć gęślą jaźń; Příliš žluťoučký kůň, straße, Ærøskøbing, Đà Nẵng.",
    "greek": "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία.",
    "cyrillic": "Съешь ещё этих мягких французских булок, да выпей чаю. Їжак.",
    "arabic": "نصٌّ حكيمٌ له سرٌّ قاطعٌ، ١٢٣ ﷺ",
    "hebrew": "דג סקרן שט בים מאוכזב — שָׁלוֹם",
    "devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा। क्ष",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า น้ำ",
    "han": "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。𠮷野家",
    "kana": "いろはにほへと ﾊﾝｶｸ ガギグ が ㌔㍍ ㋿",
    "hangul": "키스의 고유조건은 입술끼리 만나야 한다 한글 ㈜",
    "tamil": "யாமறிந்த மொழிகளிலே தமிழ்மொழி",
    "ethiopic_georgian": "ሰላም ለዓለም გამარჯობა",
}
OTHERS = {
    "emoji": "ok 😀👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 1️⃣ ☺︎ end",
    "combining": "e\u0301 a\u0308\u0323 n\u0303o Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d x\u0338 \u0301start",
    "full_width": "Ｆｕｌｌ　ｗｉｄｔｈ １２３％ ｱｲｳ ﬁ ﬀ ½ ² Ⅷ ™ … ⑩",
    "zero_width": "a\u200bb a\u200cb a\u200db a\u2060b a\ufeffb \u200eleft\u200f soft\u00adhyphen",
    "crlf": "one\r\ntwo\r\n\r\nthree\rfour\nfive\n",
    "tabs": "\tone\t\ttwo \t three\t",
    "vertical": "a\x0bb a\x0cb a\x85b a\u2028b a\u2029b a\u1680b a\u3000b a\u00a0b",
    "controls": "a\x01b\x1fc\x7fd\x9fe",
    "nul": "a\x00b \x00",
    "only_zero_width": "\u200b\u200b",
    "only_breaks": "\r\n\t \n",
    "spaces_100": "wide" + " " * 100 + "gap",
    "spaces_only_100": " " * 100,
    "extra_id": "<extra_id_0> is what<extra_id_1>follows <extra_id_99>.",
    "end_as_text": "before </s> after </s>",
    "end_glued": "a</s>b<pad>c<unk>d <s>",
    "byte_piece_as_text": "<0x0A> and <0xE2><0x96><0x81>",
    "user_defined": "one<sep>two <sep> three<sep><sep>  four <ctl>",
    "space_symbol": "a\u2581b \u2581 \u2581\u2581c \u2581",
    "replacement": "bad \ufffd\ufffd char",
    "noncharacters": "a\uffff b\U0010ffff c\ue000",
    "newline_end": "The ferry was late.\n",
    "url": "See https://example.org/a?b=c&d=%20#frag, mail a.b+c@example.org!",
    "code": "for (int i = 0; i < n; ++i) { x[i] *= 2.5e-3; } // done",
    "long_word": "Donaudampfschifffahrtsgesellschaftskapitaen" * 5,
    "case": "NASA's iPhone WAS loud; LOUD",
    # Digits tie: "0" + "00" and "00" + "0" weigh the same but for rounding.
    "ties": " ".join(str(7 ** n) for n in range(120)) + " 1,000,000",
}
LONG = {  # name: (what, times)
    "megabyte_of_a": ("a", 1 << 20),
    "megabyte_without_a_space": ("summarize,the-ferry;was/late.0123456789_", 26215),
    "megabyte_of_unknown": ("東京", 174763),
    "megabyte_of_words": ("The harbour ferry was late again. ", 30841),
    "megabyte_of_spaces": (" ", 1 << 20),
    "megabyte_of_ties": ("80716073313 0420526111 26746411175105,", 27594),
}


def fnv1a(ids):
    """64-bit FNV-1a over the ids as 32-bit little-endian."""
    h = 0xCBF29CE484222325
    for i in ids:
        for b in i.to_bytes(4, "little"):
            h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def train(name, options):
    path = HERE / "tokenizers" / name / "spiece.model"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    documents = [json.loads(line)["text"] for line in (HERE / "../../models/documents.jsonl").read_text().splitlines()]
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(s for d in documents for s in d.split("\n")), model_writer=out, model_type="unigram",
        hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, num_threads=1, **options)
    path.write_bytes(out.getvalue())


def hugging_face():
    """transformers' T5Tokenizer on spiece.model; its tokenizer.json is kept."""
    with tempfile.TemporaryDirectory() as tmp:
        shutil.copyfile(HERE / "spiece.model", Path(tmp) / "spiece.model")
        tokenizer = transformers.T5Tokenizer.from_pretrained(tmp)
        tokenizer.save_pretrained(tmp)
        (HERE / "tokenizer_json").mkdir(exist_ok=True)
        shutil.copyfile(Path(tmp) / "tokenizer.json", HERE / "tokenizer_json" / "tokenizer.json")
    return tokenizer


def make_cases(folder, hf):
    sp = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    cases, long_cases = [], []
    for name, text in {**SCRIPTS, **OTHERS}.items():
        ids = sp.encode(text)
        case = {"name": name, "text": text, "ids": ids, "decoded": sp.decode(ids)}
        if hf:
            theirs = hf(text, add_special_tokens=False).input_ids
            if theirs != ids:
                case["transformers_ids"] = theirs
            decoded = hf.decode(ids, skip_special_tokens=True)
            if decoded != case["decoded"]:
                case["transformers_decoded"] = decoded
        cases.append(case)
    for name, (what, times) in LONG.items():
        ids = sp.encode(what * times)
        case = {"name": name, "repeat": what, "times": times, "count": len(ids), "fnv1a": fnv1a(ids)}
        if hf and name != "megabyte_of_a":
            theirs = hf(what * times, add_special_tokens=False).input_ids
            case["transformers_differ_at"] = next(
                (n for n, (a, b) in enumerate(zip(ids, theirs)) if a != b), None if len(ids) == len(theirs) else
                min(len(ids), len(theirs)))
        long_cases.append(case)
    return {"model": os.path.relpath(folder / "spiece.model", HERE), "pieces": sp.get_piece_size(),
            "cases": cases, "long": long_cases}


def main():
    transformers.logging.set_verbosity_error()
    for name, options in MODELS.items():
        train(name, options)
    hf = hugging_face()
    models = [make_cases(HERE, hf)] + [make_cases(HERE / "tokenizers" / name, None) for name in MODELS]
    models.append(make_cases(HERE / "../../models/demo", None))
    lines = [f' "sentencepiece": "{sentencepiece.__version__}"', f' "transformers": "{transformers.__version__}"']
    blocks = []
    for m in models:
        rows = {k: ",\n   ".join(json.dumps(c) for c in m[k]) for k in ("cases", "long")}
        blocks.append(f'  {{"model": "{m["model"]}", "pieces": {m["pieces"]},\n   "cases": [\n   {rows["cases"]}],\n'
                      f'   "long": [\n   {rows["long"]}]}}')
    (HERE / "tokenizer_hard_cases.json").write_text(
        "{\n" + ",\n".join(lines) + ',\n "models": [\n' + ",\n".join(blocks) + "\n ]\n}\n")


if __name__ == "__main__":
    main()
