"""Text to ids and back, as the server must do it: each kind says what stands before and after a text's own ids."""
import sys

from training import text

PIECES = ("t5", "mt5", "umt5")  # families whose text is SentencePiece's


class SentencePiece:
    """Text to ids without </s> and back, the way SentencePiece does it."""

    def __init__(self, folder):
        self.pieces = text.read_pieces(folder)
        self.before, self.after = [], [text.end_of_text(self.pieces)]
        self.encode = self.pieces.encode

    def decode(self, ids):
        control = (self.pieces.pad_id(), self.pieces.eos_id())
        return self.pieces.decode([i for i in ids if i not in control and i < self.pieces.get_piece_size()])


class Tokenizers:
    """The same by tokenizer.json."""

    def __init__(self, folder):
        from tokenizers import Tokenizer
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.before, self.after = [], [self.tokenizer.token_to_id("</s>")]
        self.decode = self.tokenizer.decode

    def encode(self, said):
        return self.tokenizer.encode(said, add_special_tokens=False).ids


class Automatic:
    """What transformers takes for the folder. Text that spells a special token stays text."""

    def __init__(self, folder):
        import transformers
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError) as e:
            sys.exit(f"{folder}: no tokenizer that transformers {transformers.__version__} can read: {e}".split("\n")[0])
        whole, body = self.tokenizer("a").input_ids, self.encode("a")
        at = next(n for n in range(len(whole)) if whole[n:n + len(body)] == body)
        self.before, self.after = whole[:at], whole[at + len(body):]

    def encode(self, said):
        return self.tokenizer(said, add_special_tokens=False, split_special_tokens=True).input_ids

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def make_tokenizer(folder, config):
    if config["model_type"] in PIECES and (folder / "spiece.model").exists():
        return SentencePiece(folder)
    if config["model_type"] in PIECES and (folder / "tokenizer.json").exists():
        return Tokenizers(folder)
    return Automatic(folder)
