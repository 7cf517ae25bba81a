#!/usr/bin/env python3
"""Writes a trace of lengths for `precis bench`: a line SOURCE_TOKENS,NEW_TOKENS a document, no text.

    python3 bench/trace.py --packages /usr/share/doc/*/README* > trace.csv

Documents are the descriptions of the Debian packages installed here (--packages) and the text files named. A
summary is taken to be as long as the document's first paragraph, of 8 to 128 tokens: writers put the gist there.
Of many documents --count are kept, at equal distances in the order of length, in an order drawn by --seed.
Needs the Python package sentencepiece.
"""
import argparse
import random
import subprocess
import sys

FEWEST_SOURCE = 16
NEW_TOKENS = (8, 128)


def first_paragraph(text):
    return next((part for part in text.split("\n\n") if part.strip()), text)


def package_descriptions():
    """Descriptions of several lines; dpkg writes an empty line of one as ' .'."""
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Description}\x1e"], check=True,
                            capture_output=True, text=True).stdout
    for description in listed.split("\x1e"):
        _, _, body = description.partition("\n")
        text = "\n".join("" if line.strip() == "." else line.strip() for line in body.split("\n"))
        if text.strip():
            yield text


def file_texts(paths):
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                yield file.read()
        except (OSError, UnicodeDecodeError) as error:
            print(f"trace.py: {path} is left out: {error}", file=sys.stderr)


def lengths_of(text, count_tokens, max_source):
    """(source tokens with </s>, new tokens), or None for a text that is no document."""
    source = min(count_tokens(text) + 1, max_source)
    if source < FEWEST_SOURCE:
        return None
    low, high = NEW_TOKENS
    return source, min(max(count_tokens(first_paragraph(text)), low), high)


def spread(items, count, seed):
    """`count` of `items` at equal distances in their order of length, shuffled."""
    ordered = sorted(items)
    if count < len(ordered):
        ordered = [ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)]
    random.Random(seed).shuffle(ordered)
    return ordered


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="text files, each a document")
    parser.add_argument("--packages", action="store_true", help="descriptions of installed Debian packages")
    parser.add_argument("--tokenizer", default="models/demo/spiece.model", help="a sentencepiece model")
    parser.add_argument("--count", type=int, default=64, help="most documents of the trace")
    parser.add_argument("--max-source", type=int, default=1024, help="longer documents are cut")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not args.packages and not args.files:
        parser.error("name files, or give --packages")

    import sentencepiece
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=args.tokenizer)
    texts = list(file_texts(args.files)) + (list(package_descriptions()) if args.packages else [])
    items = [lengths_of(text, lambda part: len(tokenizer.encode(part)), args.max_source) for text in texts]
    items = [item for item in items if item]
    if not items:
        sys.exit("trace.py: no document of at least %d tokens" % FEWEST_SOURCE)
    print(f"# {args.count} of {len(items)} documents: tokens of the source with </s>, tokens of the summary")
    for source, new in spread(items, args.count, args.seed):
        print(f"{source},{new}")


if __name__ == "__main__":
    main()
