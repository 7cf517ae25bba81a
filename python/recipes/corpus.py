"""Makes training text from Debian's package descriptions: the long description is the document, the synopsis its summary.

    python corpus.py OUT                        writes OUT/train.jsonl, OUT/held_out.jsonl and OUT/corpus.json
    python corpus.py OUT --held-out 40          forty of a thousand source packages are held out, not 25
    python corpus.py OUT --held-out 90 --new-since bookworm bullseye --dev 30 --held-out-packages 30

--new-since holds out only sources that none of these suites has: texts that no model trained on these suites has seen.
OUT/new.jsonl repeats what is new in OUT/train.jsonl, for a model that knows the rest: give both to uptrain.py --train.
--dev puts more sources aside in OUT/dev.jsonl, for choices. --held-out-packages draws single binary packages, whatever
else of their source is trained on, and writes OUT/packages.jsonl: an easier set, as random splits make it.

A line is {"id": package, "source": source package, "document": ..., "summary": ...}. The lists are those that apt has:
run `apt-get update` with English translations before it (docs/training.md has a private apt configuration that adds
suites without touching the machine's). Whole source packages are held out, by a hash of their name, and what is held
out has no near-duplicate in what is trained on. Nothing is overwritten.
"""
import argparse
import collections
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

from training.files import finished_together

SHINGLE = 5                 # words in a row that count as one common passage
DUPLICATE = 0.7             # share of common passages from which a held-out text counts as known
TRAIN_PER_SOURCE = 12       # a hundred language packs of one source teach no more than a dozen
HELD_OUT_PER_SOURCE = 2
SYNOPSIS_WORDS = (2, 24)
LEAST_DOCUMENT_WORDS = 10
NO_SUMMARY = re.compile(r"transitional|dummy package|\(obsolete\)|debugging symbols|debug symbols", re.IGNORECASE)


def words(text):
    return re.findall(r"[^\W_]+", text.lower())


def index_files(kind):
    """(suite's codename, path) of apt's lists of a kind ("Packages" or "Translations") in the order of sources.list."""
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(FILENAME)", f"Created-By: {kind}"],
                         check=True, capture_output=True, text=True).stdout
    return [line.split(" ", 1) for line in out.split("\n")[:-1]]


def stanzas(path):
    """The paragraphs of a list as dictionaries; apt's helper undoes whatever compression the list has."""
    run = subprocess.Popen(["/usr/lib/apt/apt-helper", "cat-file", path], stdout=subprocess.PIPE, text=True,
                           encoding="utf-8", errors="replace")
    fields, key = {}, None
    for line in run.stdout:
        if line == "\n":
            yield fields
            fields, key = {}, None
        elif line[0] in " \t":
            fields[key] += line
        else:
            key, _, value = line.partition(":")
            fields[key] = value.lstrip()
    if fields:
        yield fields
    if run.wait() != 0:
        sys.exit(f"{path}: apt-helper cannot read it")


def packages(suites):
    """Source package of every binary package, and the names of both kinds that these suites have."""
    sources, old = {}, set()
    for suite, path in index_files("Packages"):
        for s in stanzas(path):
            package = s["Package"].strip()
            source = s["Source"].split()[0] if "Source" in s else package
            sources.setdefault(package, source)
            if suite in suites:
                old |= {package, source}
    return sources, old


def paragraphs(description):
    """The long description's paragraphs, each one line of text."""
    lines = description.split("\n")[1:]
    text = "\n".join("" if line.strip() == "." else line.strip() for line in lines)
    return [re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\n+", text) if p.strip()]


def descriptions():
    """Every usable (package, first paragraph, document, synopsis), each document once."""
    seen = set()
    for _, path in index_files("Translations"):
        if not path.endswith("-en"):
            continue
        for s in stanzas(path):
            package, text = s.get("Package", "").strip(), s.get("Description-en", "")
            synopsis, parts = text.split("\n")[0].strip(), paragraphs(text)
            document = " ".join(parts)
            known = " ".join(words(document))
            usable = (SYNOPSIS_WORDS[0] <= len(words(synopsis)) <= SYNOPSIS_WORDS[1]
                      and len(words(document)) >= LEAST_DOCUMENT_WORDS and not NO_SUMMARY.search(text))
            if usable and known not in seen:
                seen.add(known)
                yield package, parts[0], document, synopsis


def draw(name):
    """A number in [0, 1000) that depends on nothing but the name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 1000


def shingles(text):
    w = words(text)
    return {hash(tuple(w[i:i + SHINGLE])) for i in range(max(1, len(w) - SHINGLE + 1))}


def without_known(held_out, train):
    """The held-out rows that no training row has the first paragraph or most passages of."""
    first = {" ".join(words(row["first"])) for row in train}
    passages = [shingles(row["document"]) for row in held_out]
    where = collections.defaultdict(list)
    for i, own in enumerate(passages):
        for s in own:
            where[s].append(i)
    known = {i for i, row in enumerate(held_out) if " ".join(words(row["first"])) in first}
    for row in train:
        common = collections.Counter(i for s in shingles(row["document"]) for i in where.get(s, ()))
        known |= {i for i, n in common.items() if n >= DUPLICATE * len(passages[i])}
    return [row for i, row in enumerate(held_out) if i not in known]


def capped(rows, most):
    """At most so many rows of one source, those whose names' hashes are smallest."""
    taken, kept = collections.Counter(), []
    for row in sorted(rows, key=lambda row: hashlib.sha256(row["id"].encode()).digest()):
        taken[row["source"]] += 1
        if taken[row["source"]] <= most:
            kept.append(row)
    return kept


def once(rows):
    """The first row of each package: suites describe a package in different words."""
    first = {}
    for row in rows:
        first.setdefault(row["id"], row)
    return list(first.values())


def split(rows, old, held_out, dev, single):
    """Parts by name. held_out, dev: sources of a thousand; single: packages of a thousand; none of them in old."""
    parts = {"train": [], "held_out": [], "dev": [], "packages": []}
    for row in rows:
        of_source = draw(row["source"])
        if row["source"] in old or row["id"] in old or of_source >= held_out + dev:
            alone = row["id"] not in old and draw("package " + row["id"]) < single
            parts["packages" if alone else "train"].append(row)
        else:
            parts["held_out" if of_source < held_out else "dev"].append(row)
    seen = parts["train"] + parts["packages"]
    for name in ("held_out", "dev"):
        parts[name] = without_known(capped(once(parts[name]), HELD_OUT_PER_SOURCE), seen)
    parts["packages"] = capped(once(parts["packages"]), HELD_OUT_PER_SOURCE)
    parts["train"] = capped(parts["train"], TRAIN_PER_SOURCE)
    parts["new"] = [row for row in parts["train"] if row["id"] not in old] if old else []
    return {name: part for name, part in parts.items() if part}


def write(folder, parts):
    keys, counts = ("id", "source", "document", "summary"), {}
    for name, rows in parts.items():
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps({k: row[k] for k in keys}, ensure_ascii=False) + "\n" for row in rows)
        counts[name] = {"texts": len(rows), "sources": len({row["source"] for row in rows})}
    (folder / "corpus.json").write_text(json.dumps(counts, indent=1) + "\n")
    for name, count in counts.items():
        print(f"{name}.jsonl: {count['texts']} texts of {count['sources']} source packages")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", type=int, default=25, help="sources of a thousand that are held out")
    parser.add_argument("--dev", type=int, default=0, help="sources of a thousand for dev.jsonl")
    parser.add_argument("--held-out-packages", type=int, default=0, help="packages of a thousand for packages.jsonl")
    parser.add_argument("--new-since", nargs="+", default=[], metavar="SUITE",
                        help="codenames; what is held out is in none of them")
    args = parser.parse_args()
    if args.held_out <= 0 or min(args.dev, args.held_out_packages) < 0 or args.held_out + args.dev >= 1000 \
            or args.held_out_packages >= 1000:
        sys.exit(f"--held-out {args.held_out}, --dev {args.dev}, --held-out-packages {args.held_out_packages}: not "
                 "shares of a thousand")
    missing = set(args.new_since) - {suite for suite, _ in index_files("Packages")}
    if missing:
        sys.exit(f"--new-since {' '.join(sorted(missing))}: apt has no lists of it")
    sources, old = packages(args.new_since)
    rows = [{"id": package, "source": sources.get(package, package), "first": first, "document": document,
             "summary": synopsis} for package, first, document, synopsis in descriptions()]
    if not rows:
        sys.exit("apt has no English descriptions: run apt-get update with Acquire::Languages \"en\"")
    parts = split(rows, old, args.held_out, args.dev, args.held_out_packages)
    with finished_together(args.out) as folder:
        write(folder, parts)


if __name__ == "__main__":
    main()
