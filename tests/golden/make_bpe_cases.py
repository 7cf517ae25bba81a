"""Makes what tests of byte-level BPE compare with: ids and text by transformers' AutoTokenizer, for many kinds of files.

    python make_bpe_cases.py [--texts 40] [--seed 1] [--out bpe_cases.json]

Needs transformers 5.5.4 with tokenizers. A directory has the tokenizer files of families/BASE; `files` replace or add to them (null: not
there), `tokenizer_json` replaces parts of its tokenizer.json. Texts are cut with split_special_tokens, because a client's text never
becomes a special token in Precis. `around` is what the tokenizer puts around a source.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import transformers

from make_added_token_cases import ODD, WORDS, every_flag, token

HERE = Path(__file__).resolve().parent
NAMES = ("config.json", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")
CONTROLS = ("<s>", "<pad>", "</s>", "<unk>")
MASK = {605: token("<mask>", special=True, lstrip=True)}
# Letters and digits that Unicode 15.1 and 16 brought, and white space of all kinds.
NEW = "\U0002ebf0 \u1c89 \ua7cb \U000105c0 \U00010d4a \U00011380 \U000113d3 \U00013460 \U00016100 \U00018cff \U00010d40 \U0001ccf0 \U00016d70"
SPACES = "\t \n \v \f \r \x1c \x85 \xa0 \u1680 \u180e \u2003 \u200b \u2028 \u2029 \u202f \u205f \u2060 \u3000 \ufeff".split(" ")
BREAKS = [token("\n", lstrip=True, rstrip=True, normalized=True), token("x", rstrip=True), token("|", lstrip=True)]
ROBERTA = dict(tokenizer_class="RobertaTokenizer")


def controls():
    return {n: token(t, special=True) for n, t in enumerate(CONTROLS)} | MASK


def bart(**keys):
    return {"tokenizer_config.json": dict(tokenizer_class="BartTokenizer") | keys}


def with_ids(tokens):
    """The controls and these: a piece keeps its id."""
    vocab = json.loads((HERE / "families" / "bart_cnn" / "vocab.json").read_text())
    pieces = {vocab[t["content"]]: t for t in tokens if t["content"] in vocab}
    others = dict(enumerate((t for t in tokens if t["content"] not in vocab), 606))
    return dict(sorted((controls() | pieces | others).items()))


def decoder(tokens):
    return bart(added_tokens_decoder={str(n): t for n, t in with_ids(list(tokens)).items()})


def listed(tokens):
    return {"added_tokens": [dict(id=n, **t) for n, t in with_ids(list(tokens)).items()]}


def level(**keys):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True} | keys


def template(*tokens):
    steps = [{"Sequence": {"id": "A", "type_id": 0}} if t is None else {"SpecialToken": {"id": t, "type_id": 0}} for t in tokens]
    ids = {t: {"id": t, "ids": [CONTROLS.index(t)], "tokens": [t]} for t in tokens if t}
    pair = steps + [{"Sequence": {"id": "B", "type_id": 1}}]
    return {"post_processor": {"type": "TemplateProcessing", "single": steps, "pair": pair, "special_tokens": ids}}


def odd_merges(seed, pairs):
    """Pieces of a few letters and bytes, merged in an order that no training gives, some of them twice."""
    rng = random.Random(seed)
    vocab = json.loads((HERE / "families" / "bart_cnn" / "vocab.json").read_text())
    vocab = {piece: n for piece, n in vocab.items() if n < 260}
    pieces, merges = [*"abc1.", "Ġ", "Ċ", "Ã", "©", "æ", "Ĺ", "¥"], []
    while len(merges) < pairs:
        left, right = rng.choice(pieces), rng.choice(pieces)
        if len(left + right) > 9:
            continue
        merges.append((left, right))
        if left + right not in vocab:
            vocab[left + right] = len(vocab)
            pieces.append(left + right)
    rng.shuffle(merges)
    merges += merges[:3]
    return vocab | {"<mask>": len(vocab)}, merges


def directories():
    """name, base, files, tokenizer_json"""
    yield "as_they_are", "bart_cnn", {}, {}
    yield "nothing_but_the_two", "bart_cnn", {"tokenizer_config.json": None}, {}
    yield "no_config_beside_json", "distilbart", {"tokenizer_config.json": None}, {}
    yield "no_class", "bart_cnn", {"tokenizer_config.json": {"model_max_length": 1024}}, {}
    yield "prefix_space", "bart_cnn", bart(add_prefix_space=True), {}
    yield "prefix_space_of_json", "distilbart", bart(), {"pre_tokenizer": level(add_prefix_space=True)}
    yield "prefix_space_of_config", "distilbart", {"tokenizer_config.json": ROBERTA | {"add_prefix_space": True}}, {}
    yield "prefix_space_made_anew", "distilbart", {"tokenizer_config.json": None}, {"pre_tokenizer": level(add_prefix_space=True)}
    spaced = decoder(WORDS)
    spaced["tokenizer_config.json"]["add_prefix_space"] = True
    yield "prefix_space_before_parts", "bart_cnn", spaced, {}
    yield "sequence_of_one", "distilbart", bart(), {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [level()]}}
    yield "template", "distilbart", bart(), template("<s>", None, "</s>")
    yield "template_of_an_end", "distilbart", bart(), template(None, "</s>")
    yield "other_ends", "bart_cnn", bart(cls_token="<pad>", sep_token={"content": "<unk>", "__type": "AddedToken"}), {}
    yield "ends_of_the_map", "bart_cnn", {"special_tokens_map.json": {"sep_token": "<unk>", "cls_token": {"content": "</s>"}}}, {}
    yield "every_flag", "bart_cnn", decoder(every_flag()), {}
    yield "every_flag_of_json", "distilbart", bart(), listed(every_flag())
    yield "every_flag_after_spaces", "distilbart", bart(), listed(every_flag()) | {"pre_tokenizer": level(add_prefix_space=True)}
    yield "odd", "bart_cnn", decoder(ODD), {}
    yield "words", "distilbart", bart(), listed(WORDS)
    yield "breaks", "distilbart", {"tokenizer_config.json": None}, listed(BREAKS[:1])
    yield "pieces", "bart_cnn", bart(added_tokens_decoder={"67": token("`"), "91": token("x", rstrip=True)}), {}
    yield "added_file", "bart_cnn", {"added_tokens.json": {"{{": 606, "<nl>": 607}}, {}
    for seed, pairs in ((1, 40), (2, 90)):
        vocab, merges = odd_merges(seed, pairs)
        lines = "".join(f"{a} {b}\n" for a, b in merges)
        yield f"odd_merges_{seed}", "bart_cnn", {"vocab.json": vocab, "merges.txt": lines}, {}


def write(folder, base, files, parts):
    for name in NAMES:
        if (HERE / "families" / base / name).exists():
            shutil.copyfile(HERE / "families" / base / name, folder / name)
    for name, value in files.items():
        if value is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    if parts:
        root = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(root | parts))


class Texts:
    FILLERS = "map maps road_ 2road moonlight the The a ab abc abcab 1a é café 日本 aab ... 's 'll 'S don't 12 3½ 😀 _ , { } < > | <s> </s> <mask>"

    def __init__(self, tokenizer, seed):
        self.random = random.Random(seed)
        self.ids = [i for i, t in tokenizer.added_tokens_decoder.items() if not t.special]
        self.contents = [tokenizer.added_tokens_decoder[i].content for i in self.ids]
        self.fillers = self.FILLERS.split(" ") + NEW.split(" ")
        self.size = len(tokenizer)

    def text(self):
        out = ""
        for _ in range(self.random.randrange(1, 12)):
            known = self.contents and self.random.random() < 0.5
            spaces = [" ", " ", "", "", "", "  ", self.random.choice(SPACES)]
            out += self.random.choice(spaces) + self.random.choice(self.contents if known else self.fillers)
        return out + self.random.choice(["", "", " ", "\n", " \n "])

    def some_ids(self):
        known = self.ids or [68]
        return [
            self.random.choice(known) if self.random.random() < 0.3 else self.random.randrange(self.size + 3)
            for _ in range(self.random.randrange(1, 12))
        ]


def judged(name, base, files, parts, count, seed):
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        write(folder, base, files, parts)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
        texts = Texts(tokenizer, f"{seed} {name}")
        made = [texts.text() for _ in range(count)]
        encoded = [(t, tokenizer(t, add_special_tokens=False).input_ids) for t in made]
        lists = [texts.some_ids() for _ in range(count // 2)]
        decoded = [(ids, tokenizer.decode(ids, skip_special_tokens=True)) for ids in lists]
        around = tokenizer("").input_ids
    return dict(name=name, base=base, files=files, tokenizer_json=parts, around=around, encoded=encoded, decoded=decoded)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=str(HERE / "bpe_cases.json"))
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    cases = [judged(*d, arguments.texts, arguments.seed) for d in directories()]
    out = dict(transformers=transformers.__version__, directories=cases)
    Path(arguments.out).write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
