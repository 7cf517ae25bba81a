"""mails.py: what a summary says stands in the mail, and a grammar that cannot be expanded is refused by file and line."""
import random
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import recipes_testing
import mails

GRAMMAR = """# a comment
@thing
the lift
both printers of {city}
@city
Graz
Cork
@mail broken
= {thing} [broken|out of order]
* since noon {thing} [is|are] not to be used. use {thing2} meanwhile.
+ ask in {city}.
"""


def grammar_of(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.txt"
        path.write_text(text)
        return mails.Grammar([path])


class Mails(unittest.TestCase):
    def test_a_slot_is_the_same_throughout_a_mail_and_a_numbered_one_another(self):
        grammar = grammar_of(GRAMMAR)
        for seed in range(50):
            document, summary = mails.make(grammar, "broken", random.Random(seed))
            lift, printers = "lift" in summary, "printers" in summary
            self.assertNotEqual(lift, printers)
            heart = document[document.index("Since noon"):]
            self.assertEqual(lift, heart.index("lift") < heart.index("printers"), document)
            self.assertTrue(summary.startswith("The lift " if lift else "Both printers of "), summary)

    def test_nothing_is_left_unexpanded_and_sentences_begin_with_capitals(self):
        grammar = mails.Grammar(sorted(mails.FOLDER.glob("*.txt")))
        self.assertGreater(len(grammar.kinds), 300)
        for mail in mails.mails(grammar, 2000, seed=3):
            for text in (mail["document"], mail["summary"]):
                self.assertNotRegex(text, r"[][{}|]|  |(^|[.?!] )[a-z]| [,.;:?!]", mail["id"])

    def test_every_slot_of_a_summary_stands_in_every_heart(self):
        grammar = mails.Grammar(sorted(mails.FOLDER.glob("*.txt")))
        for name, kind in grammar.kinds.items():
            for summary in kind.summaries:
                for heart in kind.hearts:
                    self.assertLessEqual(set(mails.SLOT.findall(summary)), set(mails.SLOT.findall(heart)), name)

    def test_the_same_seed_makes_the_same_mails_of_every_kind(self):
        grammar = mails.Grammar(sorted(mails.FOLDER.glob("*.txt")))
        first = list(mails.mails(grammar, 500, seed=1))
        self.assertEqual(first, list(mails.mails(grammar, 500, seed=1)))
        self.assertNotEqual(first, list(mails.mails(grammar, 500, seed=2)))
        self.assertEqual({m["id"].rpartition("-")[0] for m in first}, set(grammar.kinds))

    def test_a_strange_word_stands_in_the_mail_and_in_its_summary(self):
        texts = ["a tool that is frobnicating, like all that Zyxel makes with blorps"] * mails.LEAST_TEXTS + ["none"] * 500
        words = mails.StrangeWords(texts)
        for document, summary, document_then, summary_then in [
                ("Dear all, please stop reading on Monday. Reading is bad.", "Reading stops on Monday",
                 "Dear all, please stop frobnicating on Monday. Frobnicating is bad.", "Frobnicating stops on Monday"),
                ("Ask for Annabel, who has it.", "Annabel has it", "Ask for Zyxel, who has it.", "Zyxel has it"),
                ("All the chairs are gone.", "Chairs gone", "All the blorps are gone.", "Blorps gone"),
                ("All went well on Sunday, after seven.", "Went well on Sunday after seven",
                 "All went well on Sunday, after seven.", "Went well on Sunday after seven")]:
            self.assertEqual(words.put_in(document, summary, random.Random(0)), (document_then, summary_then))

    def test_strange_words_change_their_share_of_the_mails(self):
        grammar = mails.Grammar(sorted(mails.FOLDER.glob("*.txt")))
        texts = [f"it has {c}qzolygons and a {c}qzocket, made by {c.capitalize()}qzilhelm"
                 for c in (a + b for a in "abcdefghij" for b in "abcdefghij")] * mails.LEAST_TEXTS
        plain, mixed, all_strange = (list(mails.mails(grammar, 400, 1, share, mails.StrangeWords(texts)))
                                     for share in (0, 0.3, 1))
        self.assertEqual(plain, list(mails.mails(grammar, 400, 1)))

        def strange(some):
            return sum("qz" in m["summary"] for m in some)
        self.assertEqual(strange(plain), 0)
        self.assertGreater(strange(mixed), 50)
        self.assertGreater(strange(all_strange), 2 * strange(mixed))

    def test_texts_without_strange_words_are_refused(self):
        with self.assertRaisesRegex(ValueError, "of these 2 texts"):
            mails.StrangeWords(["too few texts", "too few texts"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "texts.jsonl"
            for line, wrong in (("{", "no JSON"), ("[]", "'document' is no text"), ('{"text": "x"}', "'document' is no text")):
                path.write_text('{"document": "x", "summary": "y"}\n\n' + line + "\n")
                words = ["mails.py", str(Path(folder) / "out"), "--words", str(path), "--strange", "0.5"]
                with mock.patch("sys.argv", words), self.assertRaisesRegex(SystemExit, f"texts.jsonl:3: {wrong}"):
                    mails.main()

    def test_bad_grammars_are_refused_where_they_are_wrong(self):
        for text, said in [
                ("the lift\n", "g.txt:1: text before the first '@'"),
                ("@Thing 1 2\n", "g.txt:1: neither '@name' nor '@mail KIND'"),
                ("@mail x\nthe lift\n", "g.txt:2: a mail's lines begin with '= ', '* ' or '+ '"),
                ("@mail x\n= a\n", "@mail x: no summary or no heart"),
                (GRAMMAR.replace("* since noon {thing}", "* since noon"), "not in this heart, but in the summary"),
                (GRAMMAR.replace("{thing2}", "{things}"), "g.txt:10: {things} is no list"),
                (GRAMMAR.replace("the lift", "+49 {number}"), "g.txt:3: {number} is no list"),
                (GRAMMAR.replace("[is|are]", "[is|are"), "g.txt:10: brackets that do not match"),
                (GRAMMAR.replace("ask in {city}", "ask in {city"), "g.txt:11: brackets that do not match"),
                (GRAMMAR.replace("Cork", "[near|at] {thing2}"), "g.txt:7: {thing} is part of itself: thing, city, thing")]:
            with self.assertRaises(ValueError) as raised:
                grammar_of(text)
            self.assertIn(said, str(raised.exception))


if __name__ == "__main__":
    recipes_testing.main()
