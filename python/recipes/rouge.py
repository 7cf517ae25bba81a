"""ROUGE-L of summaries against reference summaries: what a checkpoint, a type or an option costs in quality.

    for f in documents/*.txt; do precis summarize "$f" | tr '\\n' ' '; echo; done > bf16.txt
    python rouge.py references.txt bf16.txt int8.txt

Every file has one summary a line, in the order of the references. For each file: the mean F-measure in points (x 100),
and its difference to the first file with the 95 % interval of that mean over the documents. Words are runs of letters
and digits, lowercased, without stemming: compare these points with each other, not with published ones. Needs nothing
but Python.
"""
import argparse
import math
import re
import statistics
import sys
from pathlib import Path


def words(text):
    return re.findall(r"[^\W_]+", text.lower())


def longest_common_subsequence(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        previous = 0  # what row[j - 1] was before this x
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], previous + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def rouge_l(summary, reference):
    """F-measure, 0 to 1: the harmonic mean of the common words' share of either text."""
    a, b = words(summary), words(reference)
    return 2 * longest_common_subsequence(a, b) / (len(a) + len(b)) if a or b else 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("references", type=Path)
    parser.add_argument("summaries", type=Path, nargs="+")
    args = parser.parse_args()
    references = args.references.read_text(encoding="utf-8").splitlines()
    first = None
    for path in args.summaries:
        summaries = path.read_text(encoding="utf-8").splitlines()
        if len(summaries) != len(references):
            sys.exit(f"{path}: {len(summaries)} lines, {args.references} has {len(references)}")
        points = [100 * rouge_l(s, r) for s, r in zip(summaries, references)]
        first = first or points
        differences = [a - b for a, b in zip(points, first)]
        spread = 1.96 * statistics.stdev(differences) / math.sqrt(len(points)) if len(points) > 1 else math.nan
        print(f"{path}: {statistics.mean(points):.2f}, {statistics.mean(differences):+.2f} +- {spread:.2f}")


if __name__ == "__main__":
    main()
