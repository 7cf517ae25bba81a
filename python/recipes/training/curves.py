"""Draws RUN/log.csv as RUN/curves.png, if matplotlib is there."""
import csv
from pathlib import Path


def read(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def draw(run):
    try:
        import matplotlib
    except ImportError:
        print(f"{run}/curves.png: not drawn, matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot
    rows = read(Path(run) / "log.csv")
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for column, label in (("training_loss", "training"), ("held_out_loss", "held out")):
        points = [(int(r["step"]), float(r[column])) for r in rows if r[column]]
        axes.plot(*zip(*points), label=label) if points else None
    axes.set_xlabel("step")
    axes.set_ylabel("loss a token")
    axes.legend()
    figure.tight_layout()
    figure.savefig(Path(run) / "curves.png", dpi=100)
    pyplot.close(figure)
