"""ROUGE of a running precis-server, or of several compared document by document.

    python evaluate.py held_out.jsonl 127.0.0.1:50051
    python evaluate.py held_out.jsonl mha=127.0.0.1:50051 wgqa=127.0.0.1:50052 --option num_beams=1 --save results
    python evaluate.py held_out.jsonl first=results/mha.jsonl second=RUN/checkpoint

The texts are JSON lines with 'document' and 'summary'. A system is [NAME=] the address of a server, a checkpoint folder
(greedy by PyTorch, in float32) or a file that --save wrote. ROUGE-1, 2, L and Lsum are F-measures x 100 with stemming
(rouge-score of PyPI), with the middle 95 % of 10,000 bootstrap means; differences to the first system are paired.
"""
import argparse
import json
import sys
from pathlib import Path

from evaluation import scores
from training import checkpoint, files


def option(word):
    """KEY=VALUE with a number, true or false as value."""
    key, _, value = word.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def named(word):
    name, equals, place = word.partition("=")
    return (name, place) if equals else (Path(word).stem if Path(word).exists() else word, word)


def saved_summaries(path, rows):
    made = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    if [m.get("document") for m in made] != [row["document"] for row in rows]:
        sys.exit(f"{path}: made of other documents")
    return [m["made"] for m in made]


def summaries_of(place, rows, args):
    documents = [row["document"] for row in rows]
    if Path(place).is_dir():
        from evaluation import local
        if args.option:
            sys.exit(f"{place}: a folder is decoded greedily; --option is for servers")
        prefix = checkpoint.prefix_of(checkpoint.read_config(place))
        return local.summarize(place, documents, prefix, args.source_length)
    if Path(place).is_file():
        return saved_summaries(place, rows)
    from evaluation import served
    return served.summarize(place, documents, dict(args.option))


def save(folder, results, rows):
    with files.finished_together(folder) as unfinished:
        for name, made in results:
            lines = [json.dumps({"document": row["document"], "summary": row["summary"], "made": m},
                                ensure_ascii=False) + "\n" for row, m in zip(rows, made)]
            (unfinished / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("system", nargs="+", type=named)
    parser.add_argument("--option", type=option, action="append", default=[], metavar="KEY=VALUE",
                        help="a field of GenerationOptions in proto/precis/v1; else the checkpoint's defaults")
    parser.add_argument("--source-length", type=int, default=512, help="of folders; a server has its own limit")
    parser.add_argument("--first", type=int, help="only so many texts")
    parser.add_argument("--save", type=Path, help="folder to make, with each system's summaries")
    args = parser.parse_args()
    names = [name for name, _ in args.system]
    if len(set(names)) < len(names) or any("/" in name for name in names if args.save):
        sys.exit(f"{' '.join(names)}: give every system a NAME of its own")
    if args.save and args.save.exists():
        sys.exit(f"{args.save}: exists already; nothing is overwritten")
    rows = files.read_jsonl(args.texts)[:args.first]
    results = [(name, summaries_of(place, rows, args)) for name, place in args.system]
    if args.save:
        save(args.save, results, rows)
    references = [row["summary"] for row in rows]
    print(f"{len(rows)} texts of {args.texts}")
    print("\n".join(scores.table([(name, scores.rouge(references, made)) for name, made in results])))


if __name__ == "__main__":
    main()
