"""Documents and summaries as batches of ids: read, cut, sorted by length, and for pretraining corrupted.

Batches depend on the seed and the epoch only, so that a run that goes on after a kill sees what it would have seen.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import torch

from training import files

SORTED_TOGETHER = 192       # batches whose texts are sorted among themselves by both lengths: little padding, much chance
MULTIPLE = 8                # that sources are padded to
NO_LABEL = -100


@dataclass
class Batch:
    ids: torch.Tensor       # [B, S]
    mask: torch.Tensor      # [B, S], 1 for real tokens
    labels: torch.Tensor    # [B, T], NO_LABEL behind </s>


def read_all(paths):
    return [row for path in paths for row in files.read_jsonl(path)]


def read_pieces(folder):
    path = Path(folder) / "spiece.model"
    if not path.exists():
        sys.exit(f"{path}: not there; the recipes train with SentencePiece only")
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def end_of_text(pieces):
    """The id that closes sources and targets, whichever ids end a summary."""
    end = pieces.piece_to_id("</s>")
    if pieces.is_unknown(end):
        sys.exit("spiece.model: no piece is </s>")
    return end


def within(words, said, length):
    """Ids of a text cut to a length; never what stands before and after it."""
    room = length - len(words.before) - len(words.after)
    return words.before + words.encode(said)[:max(0, room)] + words.after


def until(ids, ends):
    """ids up to the first end, without it."""
    return next((ids[:n] for n, i in enumerate(ids) if i in ends), ids)


def pad(rows, value, multiple=1):
    longest = -(-max(len(r) for r in rows) // multiple) * multiple
    out = torch.full((len(rows), longest), value, dtype=torch.long)
    for i, row in enumerate(rows):
        out[i, :len(row)] = torch.as_tensor(row)
    return out


def to_batch(sources, targets):
    ids = pad(sources, 0, multiple=MULTIPLE)
    mask = pad([[1] * len(s) for s in sources], 0, multiple=MULTIPLE)
    return Batch(ids, mask, pad(targets, NO_LABEL))


class Summaries:
    """Document to summary."""

    def __init__(self, rows, words, prefix, source_length, target_length):
        """words: of vocabulary.py."""
        self.pairs = [(within(words, prefix + row["document"], source_length), within(words, row["summary"], target_length))
                      for row in rows]
        self.lengths = np.array([len(d) for d, _ in self.pairs])
        self.target_lengths = np.array([len(s) for _, s in self.pairs])

    def pair(self, i, _):
        return self.pairs[i]


class Spans:
    """T5's span corruption: 15 % of a text is cut out in spans of three; the target says what stood there.

    The text is the synopsis and the description behind it: their common words teach copying.
    """

    SHARE, SPAN = 0.15, 3.0

    def __init__(self, rows, pieces, config, length):
        self.eos, self.first_sentinel = end_of_text(pieces), config["vocab_size"] - 1
        spare, spans = config["vocab_size"] - pieces.get_piece_size(), round(round(length * self.SHARE) / self.SPAN)
        if spare < spans:
            sys.exit(f"vocab_size {config['vocab_size']}: {spare} rows behind the pieces, but a text of {length} tokens "
                     f"needs {spans} to mark its spans")
        texts = pieces.encode([row["summary"] + ". " + row["document"] for row in rows])
        self.texts = [np.array(t[:length]) for t in texts if len(t) >= 8]
        self.lengths = self.target_lengths = np.array([len(t) for t in self.texts])

    @staticmethod
    def _parts(total, count, rng):
        """total as a sum of count numbers of at least one, all ways alike."""
        ends = np.sort(rng.choice(total - 1, count - 1, replace=False)) + 1
        return np.diff(np.concatenate([[0], ends, [total]]))

    def pair(self, i, rng):
        text = self.texts[i]
        gone = max(1, round(len(text) * self.SHARE))
        spans = max(1, min(round(gone / self.SPAN), len(text) - gone))
        lost, kept = self._parts(gone, spans, rng), self._parts(len(text) - gone, spans, rng)
        source, target, at = [], [], 0
        for n, (keep, lose) in enumerate(zip(kept, lost)):
            source += [*text[at:at + keep], self.first_sentinel - n]
            target += [self.first_sentinel - n, *text[at + keep:at + keep + lose]]
            at += keep + lose
        return source + [self.eos], target + [self.eos]


def epoch(texts, tokens, seed, number, skip=0):
    """Batches of about so many source tokens: every text once. skip: how many batches were seen before."""
    rng = np.random.default_rng([seed, number])
    order = rng.permutation(len(texts.lengths))
    window = max(1, SORTED_TOGETHER * tokens // max(1, int(texts.lengths.mean())))
    lengths, batches = -(-texts.lengths // MULTIPLE) * MULTIPLE, []
    for start in range(0, len(order), window):
        part = order[start:start + window]
        part = part[np.lexsort((texts.target_lengths[part], lengths[part]))]
        batch = []
        for i in part:
            if batch and (len(batch) + 1) * lengths[i] > tokens:
                batches.append(batch)
                batch = []
            batch.append(i)
        batches.append(batch)
    for b in rng.permutation(len(batches))[skip:]:
        own = np.random.default_rng([seed, number, int(b)])
        pairs = [texts.pair(i, own) for i in batches[b]]
        yield to_batch([s for s, _ in pairs], [t for _, t in pairs])
