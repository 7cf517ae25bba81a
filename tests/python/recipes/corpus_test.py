"""corpus.py: what is held out is unknown to what is trained on. Needs nothing but Python."""
import tempfile
import unittest
from pathlib import Path

import recipes_testing
import corpus
from training import files


def row(source, document, first=None):
    return {"id": source, "source": source, "first": first or document, "document": document, "summary": "x y"}


LONG = "this program packs folders into one file and unpacks them again without losing names or dates"


class Corpus(unittest.TestCase):
    def test_paragraphs_are_lines_without_their_breaks(self):
        text = "synopsis\n one\n two\n .\n three\n  four"
        self.assertEqual(corpus.paragraphs(text), ["one two", "three four"])

    def test_a_source_is_on_the_same_side_in_every_run(self):
        self.assertEqual([corpus.draw(n) for n in ("bash", "zlib")], [corpus.draw(n) for n in ("bash", "zlib")])
        drawn = [corpus.draw(f"package-{i}") for i in range(4000)]
        self.assertTrue(0 <= min(drawn) and max(drawn) < 1000)
        self.assertAlmostEqual(sum(d < 250 for d in drawn) / 4000, 0.25, delta=0.03)

    def test_a_first_paragraph_that_is_trained_on_is_not_held_out(self):
        train = [row("a", LONG + " and more", first=LONG)]
        held_out = [row("b", LONG + " but other words follow here in this one", first=LONG.upper()), row("c", "q " * 20)]
        self.assertEqual([r["id"] for r in corpus.without_known(held_out, train)], ["c"])

    def test_a_near_duplicate_is_not_held_out(self):
        train = [row("a", "Version 2. " + LONG)]
        self.assertEqual(corpus.without_known([row("b", LONG + " today")], train), [])
        kept = [row("b", "something else altogether, which nobody has ever written about any program before")]
        self.assertEqual(corpus.without_known(kept, train), kept)

    def test_one_source_gives_so_many_texts(self):
        rows = [{**row("a", LONG), "id": str(i)} for i in range(9)]
        self.assertEqual(len(corpus.capped(rows, 4)), 4)
        self.assertEqual(corpus.capped(rows, 4), corpus.capped(rows[::-1], 4))


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.place = Path(self.folder.name)

    def test_an_interrupted_folder_is_not_there(self):
        with self.assertRaises(KeyboardInterrupt), files.finished_together(self.place / "made") as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt
        self.assertEqual(list(self.place.iterdir()), [])

    def test_nothing_is_overwritten(self):
        (self.place / "made").mkdir()
        with self.assertRaisesRegex(SystemExit, "made: exists already"), files.finished_together(self.place / "made"):
            pass


if __name__ == "__main__":
    recipes_testing.main()
