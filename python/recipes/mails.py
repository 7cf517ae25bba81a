"""Makes mails and their one-line summaries from a grammar, to train on: nobody gives away their mails.

    python mails.py OUT.jsonl --count 20000
    python mails.py --check FILE...          says what is wrong with grammar files, and prints a mail of each kind

The grammar is mail_grammar/*.txt, written for this project. An `@name` line begins a list, one alternative a line. `@mail KIND`
begins a kind of mail: `=` is a summary, `*` the heart of the mail, `+` a sentence that may stand around it. In all of them
{name} is an alternative of a list, the same one throughout a mail, {name2} another one of it, and [a|b] one of these,
drawn anew. A mail has a summary, a heart, none to four of the other sentences, and often a greeting and a closing.
"""
import argparse
import collections
import json
import random
import re
import sys
from pathlib import Path

from training import files

FOLDER = Path(__file__).parent / "mail_grammar"
SLOT = re.compile(r"\{([a-z_]+)(\d*)\}")
CHOICE = re.compile(r"\[([^][]*)\]")
GREETED, CLOSED = 0.7, 0.55     # shares of mails
MOST_EXTRA = 4                  # sentences around the heart
SMALL_WORDS = {"The", "We", "This", "Our", "As", "Please", "There", "It", "A", "An", "From", "On", "In", "At", "For", "After",
               "You", "Your", "Because", "Since", "Could", "To", "My", "If", "Last", "Unfortunately", "Yesterday"}
PARTS = {"=": "summaries", "*": "hearts", "+": "extras"}


class Kind:
    def __init__(self):
        self.summaries, self.hearts, self.extras = [], [], []


class Grammar:
    """Lists and kinds of mail of several files; ValueError says file and line of what is wrong."""

    def __init__(self, paths):
        self.lists, self.kinds, self.where = collections.defaultdict(list), collections.defaultdict(Kind), {}
        for path in paths:
            self._read(path)
        self._check()

    def _read(self, path):
        current = None
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), 1):
            line, at = line.strip(), f"{path}:{number}"
            if not line or line.startswith("#"):
                continue
            if line.startswith("@"):
                words = line[1:].split()
                if len(words) == 2 and words[0] == "mail":
                    current = self.kinds[words[1]]
                elif len(words) == 1 and re.fullmatch("[a-z_]+", words[0]):
                    current = self.lists[words[0]]
                else:
                    raise ValueError(f"{at}: neither '@name' nor '@mail KIND'")
                continue
            if current is None:
                raise ValueError(f"{at}: text before the first '@'")
            if isinstance(current, Kind):
                if line[:2] not in ("= ", "* ", "+ "):
                    raise ValueError(f"{at}: a mail's lines begin with '= ', '* ' or '+ '")
                part, line = PARTS[line[0]], line[2:].strip()
                getattr(current, part).append(line)
            else:
                current.append(line)
            self.where[line] = at

    def _slots(self, text):
        """All slots of a text, those of the alternatives of its lists not counted."""
        return {name + n for name, n in SLOT.findall(text)}

    def _check(self):
        lines = [line for alternatives in self.lists.values() for line in alternatives]
        for name, kind in self.kinds.items():
            if not kind.summaries or not kind.hearts:
                raise ValueError(f"@mail {name}: no summary or no heart")
            lines += kind.summaries + kind.hearts + kind.extras
            for summary in kind.summaries:
                for heart in kind.hearts:
                    missing = self._slots(summary) - self._slots(heart)
                    if missing:
                        raise ValueError(f"{self.where[heart]}: {name}: not in this heart, but in the summary "
                                         f"'{summary}': {', '.join(sorted(missing))}")
        for line in lines:
            rest = CHOICE.sub(lambda m: m[1], line)
            if set("[]|") & set(CHOICE.sub("", line)) or set("{}") & set(SLOT.sub("", rest)):
                raise ValueError(f"{self.where[line]}: brackets that do not match")
            for slot, _ in SLOT.findall(line):
                if not self.lists.get(slot):
                    raise ValueError(f"{self.where[line]}: {{{slot}}} is no list")


class Mail:
    """One mail: what its slots are bound to."""

    def __init__(self, grammar, rng):
        self.grammar, self.rng, self.bound = grammar, rng, {}

    def slot(self, match):
        name, key = match[1], match[0]
        if key not in self.bound:
            taken = {text for k, text in self.bound.items() if SLOT.fullmatch(k)[1] == name}
            free = [text for text in self.grammar.lists[name] if text not in taken] or self.grammar.lists[name]
            self.bound[key] = self.rng.choice(free)
        return self.expand(self.bound[key])

    def expand(self, text):
        text = CHOICE.sub(lambda m: self.rng.choice(m[1].split("|")), text)
        return SLOT.sub(self.slot, text)

    def sentence(self, text):
        """Expanded, without doubled spaces, capitals where sentences begin."""
        text = re.sub(r"\s+([,.;:?!])", r"\1", re.sub(r"\s+", " ", self.expand(text))).strip()
        return re.sub(r"(^|[.?!] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def make(grammar, kind, rng):
    """(document, summary) of a kind."""
    mail, parts = Mail(grammar, rng), grammar.kinds[kind]
    summary = mail.sentence(rng.choice(parts.summaries))
    text = [mail.sentence(rng.choice(parts.hearts))]
    count = min(rng.randint(0, MOST_EXTRA), len(parts.extras))
    for extra in rng.sample(parts.extras, count):
        text.insert(0 if rng.random() < 0.2 else len(text), mail.sentence(extra))
    if grammar.lists.get("greeting") and rng.random() < GREETED:
        greeting = mail.sentence("{greeting}")
        if greeting.endswith(",") and text[0].split()[0] in SMALL_WORDS:
            text[0] = text[0][0].lower() + text[0][1:]
        text.insert(0, greeting)
    if grammar.lists.get("closing") and rng.random() < CLOSED:
        text.append(mail.sentence("{closing}"))
    return " ".join(text), summary


def mails(grammar, count, seed):
    """As many of every kind, in random order."""
    rng = random.Random(seed)
    kinds = sorted(grammar.kinds)
    order = [kinds[i % len(kinds)] for i in range(count)]
    rng.shuffle(order)
    for i, kind in enumerate(order):
        document, summary = make(grammar, kind, rng)
        yield {"id": f"{kind}-{i}", "document": document, "summary": summary}


def check(paths):
    grammar = Grammar([FOLDER / "base.txt", *paths])
    rng = random.Random()
    for kind in grammar.kinds:
        for _ in range(2):
            document, summary = make(grammar, kind, rng)
            print(f"[{kind}] {summary}\n    {document}")
    print(f"{len(grammar.kinds)} kinds, {sum(map(len, grammar.lists.values()))} alternatives")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", type=Path, nargs="+", metavar="FILE")
    args = parser.parse_args()
    if (args.out is None) == (args.check is None) or args.count < 1:
        parser.error("either OUT.jsonl, with a --count above 0, or --check FILE...")
    try:
        if args.check:
            check(args.check)
            return
        grammar = Grammar(sorted(FOLDER.glob("*.txt")))
    except (OSError, UnicodeDecodeError, ValueError) as e:
        sys.exit(str(e))
    if args.out.exists():
        sys.exit(f"{args.out}: exists already; nothing is overwritten")
    files.replace_text(args.out, "".join(json.dumps(mail, ensure_ascii=False) + "\n"
                                         for mail in mails(grammar, args.count, args.seed)))


if __name__ == "__main__":
    main()
