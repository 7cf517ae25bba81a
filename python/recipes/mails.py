"""Makes mails and their one-line summaries from a grammar, to train on: nobody gives away their mails.

    python mails.py OUT.jsonl --count 20000
    python mails.py OUT.jsonl --count 20000 --words TEXTS.jsonl --strange 0.3
    python mails.py --check FILE...          says what is wrong with grammar files, and prints a mail of each kind

The grammar is mail_grammar/*.txt, written for this project. An `@name` line begins a list, one alternative a line. `@mail KIND`
begins a kind of mail: `=` is a summary, `*` the heart of the mail, `+` a sentence that may stand around it. In all of them
{name} is an alternative of a list, the same one throughout a mail, {name2} another one of it, and [a|b] one of these,
drawn anew. A mail has a summary, a heart, none to four of the other sentences, and often a greeting and a closing.

--strange: in that share of the mails, one or two words that mail and summary have in common become, in both, words out of the
documents of TEXTS with the same ending. Those mails make little sense, but no model can learn their words by heart: it copies.
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
WORD = re.compile(r"[A-Za-z]+")
INSIDE = re.compile(r"(?<=[a-z,] )[A-Za-z]+\b")  # words inside of sentences: their capitals are their own
LEAST_LETTERS, LEAST_TEXTS, MOST_TEXTS = 5, 3, 0.02  # of a strange word; the texts that have it (MOST_TEXTS: their share)
ENDINGS = ("ing", "ed", "ly", "s", "")
KEPT = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "January", "February", "March", "April",
        "June", "July", "August", "September", "October", "November", "December", "three", "seven", "eight", "eleven",
        "twelve", "twenty", "thirty", "forty", "fifty", "hundred", "first", "second", "third", "fourth", "fifth", "sixth",
        "seventh", "eighth", "ninth", "tenth", "quarter", "about", "after", "again", "before", "because", "their", "there",
        "until", "which", "without", "other"}  # words that stay: days, numbers, and those that hold a sentence together
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
        for name in self.lists:
            self._check_ends(name, [name])

    def _check_ends(self, name, way):
        """No list on a way of slots from list to list comes twice: it would never be expanded to its end."""
        for line in self.lists[name]:
            for slot, _ in SLOT.findall(line):
                if slot in way:
                    raise ValueError(f"{self.where[line]}: {{{slot}}} is part of itself: {', '.join([*way, slot])}")
                self._check_ends(slot, [*way, slot])


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


class StrangeWords:
    """Words of texts, to put into a mail and its summary in place of one that they have in common."""

    def __init__(self, documents):
        counts, self.alike = collections.Counter(), collections.defaultdict(list)
        for document in documents:
            counts.update(set(INSIDE.findall(document)))
        for word in sorted(counts):
            if len(word) >= LEAST_LETTERS and LEAST_TEXTS <= counts[word] <= MOST_TEXTS * len(documents) \
                    and word[1:].islower():
                self.alike[self._form(word)].append(word)
        if not self.alike:
            raise ValueError(f"no word of {LEAST_LETTERS} letters stands in {LEAST_TEXTS} of these {len(documents)} texts "
                             f"and in few enough ({MOST_TEXTS:.0%}) of them to be strange")

    @staticmethod
    def _form(word):
        """What a word must share with the one it replaces: whether it is a name, and its ending."""
        return word[0].isupper(), next(e for e in ENDINGS if word.endswith(e))

    def put_in(self, document, summary, rng):
        told = {w.lower() for w in WORD.findall(summary)}
        common = sorted({w for w in INSIDE.findall(document) if len(w) >= LEAST_LETTERS and w not in KEPT and
                         w.lower() in told and self._form(w) in self.alike})
        for word in rng.sample(common, min(rng.randint(1, 2), len(common))):
            new = rng.choice(self.alike[self._form(word)])

            def replaced(match):
                return new[0].upper() + new[1:] if match[0][0].isupper() else new
            document, summary = (re.sub(rf"\b{word}\b", replaced, text, flags=re.IGNORECASE)
                                 for text in (document, summary))
        return document, summary


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


def mails(grammar, count, seed, strange=0.0, words=None):
    """As many of every kind, in random order; a share of them with strange words."""
    rng = random.Random(seed)
    kinds = sorted(grammar.kinds)
    order = [kinds[i % len(kinds)] for i in range(count)]
    rng.shuffle(order)
    for i, kind in enumerate(order):
        document, summary = make(grammar, kind, rng)
        if rng.random() < strange:
            document, summary = words.put_in(document, summary, rng)
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
    parser.add_argument("--words", type=Path, metavar="TEXTS.jsonl", help="where strange words come from")
    parser.add_argument("--strange", type=float, default=0.0, help="share of the mails with strange words")
    parser.add_argument("--check", type=Path, nargs="+", metavar="FILE")
    args = parser.parse_args()
    if (args.out is None) == (args.check is None) or args.count < 1:
        parser.error("either OUT.jsonl, with a --count above 0, or --check FILE...")
    if not 0 <= args.strange <= 1 or (args.strange > 0) != (args.words is not None):
        parser.error("--strange takes a share from 0 to 1, and --words with it")
    try:
        if args.check:
            check(args.check)
            return
        grammar = Grammar(sorted(FOLDER.glob("*.txt")))
        words = args.words and StrangeWords([row["document"] for row in files.read_jsonl(args.words)])
    except (OSError, UnicodeDecodeError, ValueError) as e:
        sys.exit(str(e))
    if args.out.exists():
        sys.exit(f"{args.out}: exists already; nothing is overwritten")
    files.replace_text(args.out, "".join(json.dumps(mail, ensure_ascii=False) + "\n"
                                         for mail in mails(grammar, args.count, args.seed, args.strange, words)))


if __name__ == "__main__":
    main()
