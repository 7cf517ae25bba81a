"""Makes what tests of added tokens compare with: ids and text by transformers' AutoTokenizer, for many kinds of added tokens.

    python make_added_token_cases.py [--texts 40] [--seed 1] [--out added_token_cases.json]

Needs transformers 5.5.4 with tokenizers. Every directory has spiece.model (or not, where it says so) and the files listed; its
tokenizer.json, where it has one, is tokenizer_json/tokenizer.json with other added_tokens. Texts are cut with
split_special_tokens, because a client's text never becomes a special token in Precis; left out are texts and ids of which
docs/tokenizer.md says that Precis stays with SentencePiece.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import transformers

HERE = Path(__file__).resolve().parent
EXTRA = {f"<extra_id_{i}>": 611 - i for i in range(100)}
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


def token(content, special=False, **flags):
    return dict(content=content, special=special, **{f: flags.get(f, False) for f in FLAGS})


def numbered(tokens, first=612):
    return {str(first + n): t for n, t in enumerate(tokens)}


def sentinels():
    return {str(i): token(t, special=True) for t, i in EXTRA.items()}


def decoder(tokens):
    return {"tokenizer_config.json": dict(tokenizer_class="T5Tokenizer", added_tokens_decoder=sentinels() | numbered(tokens))}


def fast(tokens, first=612):
    return [dict(id=n, **token(t, special=True)) for n, t in enumerate(("<pad>", "</s>", "<unk>"))] + [
        dict(id=first + n, **t) for n, t in enumerate(tokens)
    ]


def every_flag():
    """A token of each combination of flags, named so that one is often part of another's neighbourhood."""
    for bits in range(16):
        yield token(f"<{bits:x}>", **{f: bool(bits >> n & 1) for n, f in enumerate(FLAGS)})


PLAIN = [token(t, normalized=True) for t in ("{", "}", "<nl>")]
WORDS = [
    token("map", single_word=True),
    token("road", single_word=True, normalized=True),
    token("sun"),
    token("sunset", normalized=True),
    token("moon", lstrip=True),
    token("moonlight"),
]
ODD = [
    token("\n"),
    token("  "),
    token("\t|", lstrip=True, rstrip=True),
    token("é", normalized=True),
    token("ﬁ"),
    token("２", normalized=True),
    token("▁q"),
    token(" x", rstrip=True),
    token("<s1>", special=True),
    token("<s1><s2>", special=True),
    token("<s1", normalized=True),
    token("東京", single_word=True),
    token("café", single_word=True, normalized=True),
]
BREAKS = [token("\n", normalized=True), token("\u200b|", normalized=True, single_word=True)]
PIECES = {"37": token("▁a", normalized=True), "95": token("2")}


def directories():
    """name -> (files beside spiece.model, added_tokens of tokenizer.json or None, whether spiece.model is there)"""
    yield "added_tokens_decoder", (decoder(PLAIN), None, True)
    yield "every_flag", (decoder(every_flag()), None, True)
    yield "words", (decoder(WORDS), None, True)
    yield "odd", (decoder(ODD), None, True)
    yield "line_breaks_normalized", (decoder(BREAKS), None, True)
    yield (
        "pieces_of_the_model",
        ({"tokenizer_config.json": dict(added_tokens_decoder=PIECES | sentinels() | numbered(PLAIN))}, None, True),
    )
    yield "no_sentinels", (
        {"tokenizer_config.json": dict(extra_ids=0, added_tokens_decoder=numbered(WORDS, 512))},
        None,
        True,
    )
    yield "named_as_special", (
        {
            "tokenizer_config.json": dict(
                sep_token="}", eos_token="</s>", own_token="<nl>", added_tokens_decoder=sentinels() | numbered(PLAIN)
            )
        },
        None,
        True,
    )
    listed = {"{": 612, "}": 613, "<nl>": 614}
    said = dict(additional_special_tokens=[*EXTRA, "}"])
    yield "added_tokens_json", ({"added_tokens.json": EXTRA | listed, "tokenizer_config.json": said}, None, True)
    yield (
        "added_tokens_json_and_map",
        (
            {
                "added_tokens.json": listed,
                "special_tokens_map.json": {"sep_token": {"content": "<nl>"}, "additional_special_tokens": ["}"]},
            },
            None,
            True,
        ),
    )
    yield "tokenizer_json", ({}, fast(every_flag()), False)
    yield "tokenizer_json_and_spiece_model", ({}, fast(ODD), True)
    yield "tokenizer_json_of_another_class", (
        {"tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast")},
        fast(WORDS),
        True,
    )
    both = {k: dict(v) for k, v in numbered(PLAIN).items()}
    yield "both_say_so", (
        {"tokenizer_config.json": dict(tokenizer_class="T5TokenizerFast", added_tokens_decoder=sentinels() | both)},
        fast(PLAIN),
        True,
    )


def refused():
    """name -> (files, added_tokens, spiece.model, file and words of the error)"""
    gap = {"tokenizer_config.json": dict(added_tokens_decoder=sentinels() | {"620": token("{")})}
    yield "a_gap", (gap, None, True, "tokenizer_config.json", "'{' has id 620, but transformers gives it 612")
    yield (
        "a_piece_at_another_id",
        ({"added_tokens.json": {"2": 612}}, None, True, "added_tokens.json", "'2' has id 612, but transformers gives it 95"),
    )
    yield (
        "the_id_of_a_piece",
        ({"added_tokens.json": {"{": 40}}, None, True, "added_tokens.json", "has id 40, which is that of the piece"),
    )
    yield (
        "no_room",
        ({"added_tokens.json": dict(zip("{}^~", range(612, 616)))}, None, True, "added_tokens.json", "'~' has id 615, the model's vocab_size is 615"),
    )
    yield (
        "two_lists",
        (decoder(PLAIN), fast(WORDS), True, "tokenizer.json", "is not as the added_tokens_decoder of tokenizer_config.json says"),
    )
    yield "twice", (decoder([token("{"), token("{")]), None, True, "tokenizer_config.json", "'{' is there twice")
    yield "no_content", (decoder([token("")]), None, True, "tokenizer_config.json", "without content")
    yield (
        "no_id",
        ({"tokenizer_config.json": dict(added_tokens_decoder={"x": token("{")})}, None, True, "tokenizer_config.json", "'x' is not an id"),
    )
    yield "no_number", ({"added_tokens.json": {"{": "612"}}, None, True, "added_tokens.json", "'{' has no id")
    yield "a_space_symbol_inside", (decoder([token("a▁b")]), None, True, "tokenizer_config.json", "with U+2581 inside of it")
    yield "a_list", ({"tokenizer_config.json": []}, None, True, "tokenizer_config.json", "not a JSON object")


def write(folder, files, added, spiece):
    (folder / "config.json").write_text('{"model_type": "t5"}')
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    if added is not None:
        root = json.loads((HERE / "tokenizer_json" / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(root | {"added_tokens": added}))
    if spiece:
        shutil.copyfile(HERE / "spiece.model", folder / "spiece.model")


class Texts:
    """Random texts and ids about some tokens."""

    FILLERS = "map maps roads road_ 2road suns sunset moon a of the harbour 2 ２ x é e\u0301 caf café 東京 東 q ▁ _ . , { } < > | \u0301 ⒶⒷ ٣ ²"
    SPACES = [" ", " ", " ", "", "", "  ", "\n", "\t", "\u00a0", "\u3000", "\r\n", " \n "]

    def __init__(self, tokenizer, seed):
        self.random = random.Random(seed)
        self.ids = [i for i, t in tokenizer.added_tokens_decoder.items() if t.content not in EXTRA and i > 2]
        self.contents = [tokenizer.added_tokens_decoder[i].content for i in self.ids]
        self.fillers = self.FILLERS.split(" ")
        # Sentinels decode to nothing in Precis; in transformers where its class or the files say so.
        self.controls = (0, 1, 611, 540) if isinstance(tokenizer, transformers.T5Tokenizer) else (0, 1)

    def text(self):
        out = ""
        for _ in range(self.random.randrange(1, 12)):
            part = self.random.choice(self.contents if self.random.random() < 0.55 else self.fillers)
            # A mark joins what is before it to one grapheme, which the rules of tokenizers see whole.
            space = self.random.choice([" ", ""] if part[0] == "\u0301" else self.SPACES)
            if part[0] == "\u0301" and not (out and (out[-1] == " " or out[-1].isalpha())):
                continue
            out += space + part
        return out + self.random.choice(self.SPACES)

    def some_ids(self):
        out = []
        for _ in range(self.random.randrange(1, 12)):
            kind = self.random.random()
            known = self.ids if kind < 0.5 else range(4, 512) if kind < 0.9 else self.controls
            out.append(self.random.choice(known))
        return out


def judged(name, files, added, spiece, count, seed):
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        write(folder, files, added, spiece)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
        texts = Texts(tokenizer, f"{seed} {name}")
        made = [texts.text() for _ in range(count)]
        encoded = [(t, tokenizer(t, add_special_tokens=False).input_ids) for t in made]
        lists = [texts.some_ids() for _ in range(count // 2)]
        decoded = [(ids, tokenizer.decode(ids, skip_special_tokens=True)) for ids in lists]
    return dict(name=name, files=files, added_tokens=added, spiece=spiece, encoded=encoded, decoded=decoded)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=str(HERE / "added_token_cases.json"))
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    served = [judged(name, *what, arguments.texts, arguments.seed) for name, what in directories()]
    not_served = [
        dict(zip(("name", "files", "added_tokens", "spiece", "file", "message"), (name, *what))) for name, what in refused()
    ]
    for directory in served + not_served:  # the hundred sentinels are the test's to write
        for value in directory["files"].values():
            if isinstance(value, dict) and "added_tokens_decoder" in value:
                kept = value["added_tokens_decoder"]
                value["sentinels"] = any(t["content"] in EXTRA for t in kept.values())
                value["added_tokens_decoder"] = {i: t for i, t in kept.items() if t["content"] not in EXTRA}
    rows = {key: ",\n  ".join(json.dumps(d, ensure_ascii=True) for d in list_) for key, list_ in (("served", served), ("refused", not_served))}
    Path(arguments.out).write_text(
        f'{{\n "transformers": "{transformers.__version__}",\n "served": [\n  {rows["served"]}],\n "refused": [\n  {rows["refused"]}]\n}}\n'
    )


if __name__ == "__main__":
    main()
