"""The chart of README.md, drawn from the tables of docs/performance/compare.md: seconds of a batch by engine, for one model.

    python3 bench/comparison/overview.py docs/performance/compare.md docs/performance/images/compare_overview.svg

bench/compare writes it too. It needs nothing but Python's own library, so a test can draw it again and compare."""
import re
import sys

MODEL = "t5-base"
CASES = [("1 x 1", "1 document, greedy"), ("1 x 4", "1 document, 4 beams"), ("32 x 1", "32 documents, greedy")]
ENGINES = [("precis int8 g2", "Precis, int8, 2 KV heads"), ("precis int8", "Precis, int8"), ("precis bf16", "Precis, bf16"),
           ("openvino bf16-w8", "OpenVINO, bf16, int8 weights"), ("ctranslate2 int8", "CTranslate2, int8"),
           ("ctranslate2 float32", "CTranslate2, float32"), ("transformers bfloat16", "transformers, bf16")]

WIDTH, LABELS, PANEL, GAP, VALUE, TOP, ROW, BAR = 860, 186, 212, 12, 38, 62, 21, 14
OURS, THEIRS, TEXT, FAINT = "#1f6feb", "#9aa4ae", "#1f2328", "#57606a"


def seconds_of(page):
    """{(case, engine): seconds} of MODEL in the table of latencies."""
    row = re.compile(rf"^\| {re.escape(MODEL)} \| (\d+ x \d+) \| ([^|]+) \| (\d+\.\d+) \|", re.MULTILINE)
    return {(case, engine): float(seconds) for case, engine, seconds in row.findall(page)}


def text(x, y, words, size=11, color=TEXT, anchor="start", weight="normal"):
    return (f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{words}</text>')


def panel(left, title, times):
    """Bars of one case, each with its seconds. `times`: of each engine in the order of ENGINES, or None."""
    parts = [text(left, TOP - 10, title, weight="bold")]
    longest = max(seconds for seconds in times if seconds is not None)
    for i, ((engine, _), seconds) in enumerate(zip(ENGINES, times)):
        if seconds is None:
            continue
        width = (PANEL - VALUE) * seconds / longest
        color = OURS if engine.startswith("precis ") else THEIRS
        parts.append(f'<rect x="{left}" y="{TOP + i * ROW}" width="{width:.1f}" height="{BAR}" fill="{color}"/>')
        parts.append(text(round(left + width + 4, 1), TOP + i * ROW + 11, f"{seconds:.2f}", color=FAINT))
    return parts


def draw(page):
    """The SVG, or None where the page lacks one of the cases."""
    times = seconds_of(page)
    if any(not [engine for engine, _ in ENGINES if (case, engine) in times] for case, _ in CASES):
        return None
    height = TOP + ROW * len(ENGINES) + 24
    machine = re.search(r"Machine: (.*)\.$", page, re.MULTILINE)
    rounds = re.search(r"best of (\d+) rounds", page)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
             'font-family="Helvetica, Arial, sans-serif">',
             f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
             text(8, 20, "Seconds to summarize with T5-base: 512 source tokens, 128 summary tokens. Shorter is better.", 13,
                  weight="bold")]
    for i, (_, label) in enumerate(ENGINES):
        parts.append(text(LABELS - 8, TOP + i * ROW + 11, label, anchor="end"))
    for i, (case, title) in enumerate(CASES):
        parts += panel(LABELS + i * (PANEL + GAP), title, [times.get((case, engine)) for engine, _ in ENGINES])
    where = f"{machine[1]}; " if machine else ""
    parts.append(text(8, height - 8, f"{where}random weights; best of {rounds[1] if rounds else 1} rounds. "
                      "From docs/performance/compare.md.", 10, FAINT))
    return "\n".join(parts + ["</svg>", ""])


def write(page, path):
    svg = draw(page)
    if svg is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(svg)
    return svg is not None


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        page = file.read()
    if not write(page, sys.argv[2]):
        sys.exit(f"{sys.argv[1]}: {MODEL} was not measured in {', '.join(case for case, _ in CASES)}")


if __name__ == "__main__":
    main()
