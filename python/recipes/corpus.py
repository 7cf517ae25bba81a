"""Makes training text from Debian's package descriptions: the long description is the document, the synopsis its summary.

    python corpus.py OUT                        writes OUT/train.jsonl, OUT/held_out.jsonl and OUT/corpus.json
    python corpus.py OUT --held-out 40          forty of a thousand source packages are held out, not 25

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
    """Paths of apt's lists of a kind ("Packages" or "Translations"), newest suite first as sources.list has it."""
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(FILENAME)", f"Created-By: {kind}"],
                         check=True, capture_output=True, text=True).stdout
    return out.split("\n")[:-1]


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


def source_names():
    """Source package of every binary package whose name differs from it."""
    names = {}
    for path in index_files("Packages"):
        for s in stanzas(path):
            if "Source" in s:
                names[s["Package"].strip()] = s["Source"].split()[0]
    return names


def paragraphs(description):
    """The long description's paragraphs, each one line of text."""
    lines = description.split("\n")[1:]
    text = "\n".join("" if line.strip() == "." else line.strip() for line in lines)
    return [re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\n+", text) if p.strip()]


def descriptions():
    """Every usable (package, first paragraph, document, synopsis), each document once."""
    seen = set()
    for path in index_files("Translations"):
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


def write(folder, train, held_out):
    keys = ("id", "source", "document", "summary")
    for name, rows in (("train.jsonl", train), ("held_out.jsonl", held_out)):
        with open(folder / name, "w", encoding="utf-8") as f:
            f.writelines(json.dumps({k: row[k] for k in keys}, ensure_ascii=False) + "\n" for row in rows)
    counts = {name: {"texts": len(rows), "sources": len({row["source"] for row in rows})}
              for name, rows in (("train", train), ("held_out", held_out))}
    (folder / "corpus.json").write_text(json.dumps(counts, indent=1) + "\n")
    print(f"{folder}: {len(train)} texts to train on, {len(held_out)} held out")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", type=int, default=25, help="sources of a thousand that are held out")
    args = parser.parse_args()
    if not 0 < args.held_out < 1000:
        sys.exit(f"--held-out {args.held_out}: not between 1 and 999")
    names = source_names()
    rows = [{"id": package, "source": names.get(package, package), "first": first, "document": document,
             "summary": synopsis} for package, first, document, synopsis in descriptions()]
    if not rows:
        sys.exit("apt has no English descriptions: run apt-get update with Acquire::Languages \"en\"")
    train = [row for row in rows if draw(row["source"]) >= args.held_out]
    held_out = [row for row in rows if draw(row["source"]) < args.held_out]
    held_out = without_known(capped(held_out, HELD_OUT_PER_SOURCE), train)
    with finished_together(args.out) as folder:
        write(folder, capped(train, TRAIN_PER_SOURCE), held_out)


if __name__ == "__main__":
    main()
