"""Draws what encode_slicing_bench printed: python3 bench/plot_encode_slicing.py RESULTS.jsonl OUT.png
Prints the table of docs/scheduling.md as well. Needs matplotlib."""

import json
import sys

import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot as plt


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        ways = [json.loads(line) for line in file]
    print("| | quiet p50 | p99 | busy p50 | p99 | p50 : quiet | p99 : quiet "
          "| decoded tokens/s : quiet | source tokens/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    figure, axis = plt.subplots(figsize=(8, 4.2))
    for way in ways:
        quiet, busy = way["quiet"], way["busy"]
        marks = [percentile(half["inter_token_seconds"], share)
                 for half in (quiet, busy) for share in (0.5, 0.99)]
        rates = [half["decoded_tokens"] / half["seconds"] for half in (quiet, busy)]
        print(f"| {way['way']} | " + " | ".join(f"{1e3 * mark:.0f} ms" for mark in marks) +
              f" | {marks[2] / marks[0]:.2f} | {marks[3] / marks[1]:.2f} | {rates[1] / rates[0]:.2f} "
              f"| {busy['encoded_tokens'] / busy['seconds']:.0f} |")
        for half, style in ((quiet, ":"), (busy, "-")):
            ordered = sorted(half["inter_token_seconds"])
            shares = [1 - i / len(ordered) for i in range(len(ordered))]
            name = f"{way['way']}, {'quiet' if half is quiet else 'documents arrive'}"
            axis.step([1e3 * v for v in ordered], shares, style, where="post", label=name,
                      color=f"C{ways.index(way)}")
    axis.axhline(0.01, color="grey", linewidth=0.5)
    axis.set(xscale="log", yscale="log", xlabel="inter-token latency, ms",
             ylabel="share of tokens that took longer",
             title="8 streams while 2,000-token documents arrive")
    axis.legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    figure.savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
