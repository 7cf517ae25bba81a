"""Tables (markdown) and plots (SVG) of what bench/compare has measured. Plots need matplotlib; without it there are
only tables."""
import collections
import math
import os
import re
import sys

from bench.comparison import overview
from bench.comparison import static_batching as static

SLOWDOWN = 3  # as `precis bench serving --slowdown`


def read_trace(path):
    with open(path, encoding="utf-8") as file:
        return [tuple(map(int, line.split(","))) for line in file if line.strip() and not line.startswith("#")]


def name_of(engine, dtype):
    return f"{engine} {dtype}"


def best_latencies(journal):
    """{(model, batch, beams, source): {engine: fastest line}} of all rounds; a grouped model stands beside its MHA one, as an
    engine "precis bf16 g2"."""
    cases = collections.defaultdict(dict)
    for line in journal.results(part="latency"):
        model, groups = re.fullmatch(r"(.*?)(?:-(g\d+))?", line["model"]).groups()
        case = cases[model, line["batch"], line["beams"], line.get("source")]
        name = name_of(line["engine"], line["type"]) + (f" {groups}" if groups else "")
        if name not in case or line["total_s"] < case[name]["total_s"]:
            case[name] = line
    return cases


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def reference_s(by_engine):
    """What times are shown as multiples of: the fastest of Precis without grouping, else of all."""
    mine = [line["total_s"] for name, line in by_engine.items() if re.fullmatch(r"precis \S+", name)]
    return min(mine or [line["total_s"] for line in by_engine.values()])


def case_names(cases):
    """{key: "batch x beams"}, with the length of a document where a model has cases of several."""
    lengths = collections.defaultdict(set)
    for model, _, _, source in cases:
        lengths[model].add(source)
    return {key: f"{key[1]} x {key[2]}" + (f", {key[3]} in" if len(lengths[key[0]]) > 1 else "") for key in cases}


def shortest(cases):
    """Of each model the cases with the shortest document."""
    least = {}
    for model, _, _, source in cases:
        least[model] = min(source or 0, least.get(model, math.inf))
    return {key: by_engine for key, by_engine in cases.items() if (key[3] or 0) == least[key[0]]}


def latency_table(cases):
    rows, names = [], case_names(cases)
    for key, by_engine in cases.items():
        for name, line in sorted(by_engine.items(), key=lambda item: item[1]["total_s"]):
            rows.append([key[0], names[key], name, f"{line['total_s']:.3f}", f"{line['encode_s']:.3f}",
                         f"{line['step_ms']:.2f}", f"{line['total_s'] / reference_s(by_engine):.2f}",
                         f"{line['fraction_of_limit']:.2f}" if "fraction_of_limit" in line else "",
                         f"{line.get('load_s', 0):.1f}"])
    return table(["model", "batch x beams", "engine", "s", "of that encoding", "ms a step", "over Precis' best MHA",
                  "of its limit", "load, s"], rows)


def ratios_table(cases):
    """The best peer over Precis: whole batches with and without grouping, a document alone, a document with beams; of
    each model for its shortest documents."""
    columns = [("batch 32", 32, 1, False), ("batch 32, grouped", 32, 1, True), ("batch 1", 1, 1, False),
               ("batch 1, 4 beams", 1, 4, False)]
    best = collections.defaultdict(dict)  # of each (model, type), by column
    for title, batch, beams, grouped in columns:
        for (model, *case, _), by_engine in shortest(cases).items():
            peers = [line["total_s"] for name, line in by_engine.items() if not name.startswith("precis ")]
            if case != [batch, beams] or not peers:
                continue
            for name, line in by_engine.items():
                mine = re.fullmatch(r"precis (\S+)( g\d+)?", name)
                if mine and bool(mine[2]) == grouped:
                    ratio = min(peers) / line["total_s"]
                    best[model, mine[1]][title] = max(ratio, best[model, mine[1]].get(title, 0))
    titles = [title for title, *_ in columns]
    return table(["model", "type", *titles],
                 [[*key, *(shown(ratios, title) for title in titles)] for key, ratios in best.items()]) if best else ""


def peers_on_trace(journal, trace, seconds, precis_bound_s):
    """{(model, engine): figures} of the peers' simulated queues."""
    grids = collections.defaultdict(list)
    for line in journal.results(part="grid"):
        grids[line["model"], name_of(line["engine"], line["type"])].append(line)
    found = {}
    for (model, name), lines in grids.items():
        times = static.BatchTimes(lines)
        offline, offline_batch = static.offline_rate(trace, times)
        alone_s = static.unloaded_p95(trace, times)
        own, own_batch = static.highest_rate(trace, times, SLOWDOWN * alone_s, seconds)
        bound_s = precis_bound_s.get(model)
        at_ours = static.highest_rate(trace, times, bound_s, seconds)[0] if bound_s else None
        found[model, name] = {"offline": offline, "offline_batch": offline_batch, "unloaded_p95_s": alone_s,
                              "highest": own, "highest_batch": own_batch, "at_our_bound": at_ours, "times": times}
    return found


def precis_on_trace(journal):
    """{(model, engine): figures}; of several rounds the best of each."""
    found = collections.defaultdict(dict)

    def raise_to(figures, name, value):
        figures[name] = max(value, figures.get(name, 0))

    for entry in journal.entries.values():
        if entry.get("error") or entry["part"] not in ("throughput", "serving"):
            continue
        figures = found[entry["model"], name_of(entry["engine"], entry["type"])]
        for line in entry["results"]:
            if entry["part"] == "throughput":
                raise_to(figures, "offline", line["documents_per_s"])
                raise_to(figures, "offline_fraction", line["fraction_of_limit"])
            elif line["kind"] == "unloaded":
                p95_s = line["total_p95_ms"] / 1e3
                figures["unloaded_p95_s"] = min(p95_s, figures.get("unloaded_p95_s", p95_s))
            elif line["kind"] == "rate":
                figures.setdefault("rates", []).append((line["offered_per_s"], line["total_p95_ms"] / 1e3))
            elif line["kind"] == "summary":
                raise_to(figures, "highest", line["highest_per_s"])
                raise_to(figures, "limit", line.get("limit_rate", 0))
    return found


def shown(figures, name, form="{:.2f}"):
    value = figures.get(name)
    return "" if value is None else form.format(value)


def trace_table(precis, peers):
    rows = []
    for (model, name), f in sorted({**precis, **peers}.items()):
        fraction = f["highest"] / f["limit"] if f.get("limit") and "highest" in f else None
        rows.append([model, name, shown(f, "offline"), shown(f, "offline_batch", "{}"),
                     shown(f, "offline_fraction"), shown(f, "unloaded_p95_s", "{:.3f}"), shown(f, "highest"),
                     shown(f, "highest_batch", "{}"), shown(f, "at_our_bound"),
                     "" if fraction is None else f"{fraction:.2f}"])
    return table(["model", "engine", "offline, documents/s", "static batch", "of its limit", "unloaded p95, s",
                  "highest rate, requests/s", "static batch", "at Precis' bound", "rate of the limit"], rows)


def plots(cases, precis, peers, trace, seconds, folder):
    """Writes the images, and returns their (name, caption)."""
    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        print("compare: matplotlib is not there, no plots", file=sys.stderr)
        return []
    matplotlib.rcParams.update({"svg.hashsalt": "precis", "font.size": 8})  # the same figures, the same file
    os.makedirs(folder, exist_ok=True)
    written = []

    def save(figure, name, caption):
        figure.tight_layout()
        figure.savefig(os.path.join(folder, name), metadata={"Date": None})
        plt.close(figure)
        written.append((name, caption))

    models, labels = sorted({key[0] for key in cases}), case_names(cases)
    if cases:
        figure, axes = plt.subplots(len(models), 1, figsize=(8, 2.4 * len(models)), squeeze=False)
        for axis, model in zip(axes[:, 0], models):
            mine = [(case, by_engine) for case, by_engine in cases.items() if case[0] == model]
            names = sorted({name for _, by_engine in mine for name in by_engine})
            for i, name in enumerate(names):
                at = [j + 0.8 * (i - (len(names) - 1) / 2) / len(names) for j in range(len(mine))]
                axis.bar(at, [e[name]["total_s"] / reference_s(e) if name in e else 0 for _, e in mine], 0.8 / len(names), label=name)
            axis.set(title=model, ylabel="times Precis' best MHA")
            axis.axhline(1, color="grey", linewidth=0.6)
            axis.set_xticks(range(len(mine)), [labels[key] for key, _ in mine])
            axis.legend(fontsize=6)
        save(figure, "compare_latency.svg", "Time of a batch (batch x beams) as a multiple of Precis' fastest with as many KV heads as heads; lower is better")

    points = [(f"{key[0]} {labels[key]}", name, line["limit_s"], line["total_s"])
              for key, by_engine in cases.items()
              for name, line in by_engine.items() if "limit_s" in line]
    if points:
        figure, axis = plt.subplots(figsize=(7, 4.5))
        low = min(limit for _, _, limit, _ in points) / 2
        high = max(total for _, _, _, total in points) * 2
        for share in (1, 0.5, 0.25):
            axis.plot([low, high], [low / share, high / share], color="grey", linewidth=0.6,
                      linestyle="-" if share == 1 else ":")
            axis.text(high, high / share, f" {share:g}", fontsize=7, color="grey", va="center")
        for name in sorted({name for _, name, _, _ in points}):
            mine = [point for point in points if point[1] == name]
            axis.scatter([limit for _, _, limit, _ in mine], [total for _, _, _, total in mine], s=14, label=name)
            for label, _, limit, total in mine:
                axis.annotate(label, (limit, total), fontsize=5, xytext=(3, -3), textcoords="offset points")
        axis.set(xscale="log", yscale="log", xlim=(low, high), xlabel="limit of this machine, s", ylabel="measured, s")
        axis.legend(fontsize=6, loc="upper left")
        save(figure, "compare_limit.svg", "Each case against its limit; the lines are fractions of the limit")

    served = sorted({model for (model, _), f in precis.items() if "rates" in f})
    if served:
        figure, axes = plt.subplots(1, len(served), figsize=(4.2 * len(served), 3.4), squeeze=False)
        for axis, model in zip(axes[0], served):
            for (m, name), f in sorted(precis.items()):
                if m == model and "rates" in f:
                    rates = sorted(f["rates"])
                    axis.plot([r for r, _ in rates], [p for _, p in rates], marker=".", label=name)
            for (m, name), f in sorted(peers.items()):
                if m == model:
                    axis.plot(*peer_curve(f, trace, seconds), linestyle="--", label=f"{name} (simulated)")
            axis.set(title=model, xlabel="requests/s", ylabel="p95, s", xscale="log", yscale="log")
            axis.legend(fontsize=5)
        save(figure, "compare_serving.svg", "p95 of a request at each rate; peers by simulated static batching")
    return written


def peer_curve(figures, trace, seconds):
    rates = [figures["highest"] * share for share in (0.25, 0.5, 0.7, 0.85, 1, 1.1, 1.25) if figures["highest"]]
    p95 = []
    for rate in rates:
        count = static.request_count(rate, seconds)
        items = [trace[i % len(trace)] for i in range(count)]
        p95.append(static.percentile(static.latencies(static.poisson_arrivals(1, rate, count), items,
                                                      figures["times"], figures["highest_batch"]), 0.95))
    return rates, p95


def page(journal, trace, seconds):
    """The markdown without its images, and what the images are drawn of."""
    cases = best_latencies(journal)
    precis = precis_on_trace(journal)
    bounds = collections.defaultdict(list)
    for (model, _), f in precis.items():
        if "unloaded_p95_s" in f:
            bounds[model].append(SLOWDOWN * f["unloaded_p95_s"])
    peers = peers_on_trace(journal, trace, seconds, {model: min(all_s) for model, all_s in bounds.items()})
    entries = [entry for entry in journal.entries.values() if not entry.get("error")]
    machines = sorted({f"{e['machine']['cores']} cores of {e['machine']['cpu']}" for e in entries})
    parts = ["# Precis beside its peers\n",
             "Written by `bench/compare`; do not edit. Same checkpoints (random weights), same cases, engines in turns in the same "
             f"session, the best of {max((e['round'] for e in entries), default=0)} rounds. Machine: {'; '.join(machines)}.\n\n"
             "What a row is: [limit.md](limit.md) for limits, [serving.md](serving.md) for rates. `gN` is the same shape with N KV heads, "
             "which only Precis runs grouped.\n"]
    if cases:
        parts.append("## Latency of a batch\n")
        parts.append(latency_table(cases))
        ratios = ratios_table(cases)
        if ratios:
            parts.append("How many times as fast as the best peer, which runs the ungrouped model:\n")
            parts.append(ratios)
    if precis or peers:
        parts.append("## A trace of real lengths\n")
        parts.append(f"{len(trace)} lengths of real documents. Precis is measured (continuous batching). A peer's figures are simulated "
                     "from measured times of its batches: offline, all documents sorted by length in the best static batch; online, a "
                     "queue from which the engine takes up to so many requests whenever it is free, the best size again. The highest "
                     f"rate keeps p95 within {SLOWDOWN} times the engine's own unloaded p95; \"at Precis' bound\" within that of Precis' "
                     "fastest type on that model.\n")
        parts.append(trace_table(precis, peers))
    failed = {e["key"]: e["error"] for e in journal.entries.values() if e.get("error")}
    if failed:
        parts.append("## Not measured\n")
        parts.append(table(["what", "why"], [[key, error.replace("|", "/")] for key, error in sorted(failed.items())]))
    return parts, cases, precis, peers


def write(journal, trace_path, seconds, out):
    trace = read_trace(trace_path)
    parts, cases, precis, peers = page(journal, trace, seconds)
    for name, caption in plots(cases, precis, peers, trace, seconds, os.path.join(out, "images")):
        parts.append(f"![{caption}](images/{name})\n")
    os.makedirs(os.path.join(out, "images"), exist_ok=True)
    path = os.path.join(out, "compare.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts))
    overview.write("\n".join(parts), os.path.join(out, "images", "compare_overview.svg"))
    print(f"wrote {path}", file=sys.stderr)
