"""ROUGE of summaries, and intervals of its means by bootstrap over the documents. Points are F-measures x 100."""
import re

import numpy as np
from rouge_score import rouge_scorer

MEASURES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
RESAMPLES = 10_000
CHUNK = 500  # resamples at a time: memory


def sentences(text):
    """One sentence a line, as ROUGE-Lsum counts them."""
    return re.sub(r"(?<=[.!?])\s+", "\n", text.strip())


def rouge(references, summaries):
    """[documents, measures], with stemming."""
    scorer = rouge_scorer.RougeScorer(MEASURES, use_stemmer=True)
    rows = [scorer.score(sentences(r), sentences(s)) for r, s in zip(references, summaries)]
    return np.array([[100 * row[m].fmeasure for m in MEASURES] for row in rows])


def interval(points, seed=0):
    """(mean, low, high) of each column: the middle 95 % of the means of documents drawn anew."""
    rng, count = np.random.default_rng(seed), len(points)
    means = np.concatenate([points[rng.integers(count, size=(CHUNK, count))].mean(1)
                            for _ in range(RESAMPLES // CHUNK)])
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    return points.mean(0), low, high


def table(rows):
    """Lines of (name, points) rows; all but the first are also compared with the first, document by document."""
    width = max(len(name) for name, _ in rows)
    head = f"{'':{width}}  " + "  ".join(f"{m:>20}" for m in MEASURES)
    lines = [head.rstrip()]
    for name, points in rows:
        lines.append(f"{name:{width}}  " + "  ".join(
            f"{f'{mean:.2f} [{low:.2f}, {high:.2f}]':>20}" for mean, low, high in zip(*interval(points))))
    for name, points in rows[1:]:
        lines.append(f"{name} less {rows[0][0]}, paired:")
        lines.append(f"{'':{width}}  " + "  ".join(
            f"{f'{mean:+.2f} [{low:+.2f}, {high:+.2f}]':>20}"
            for mean, low, high in zip(*interval(points - rows[0][1]))))
    return lines
