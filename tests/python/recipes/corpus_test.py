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

    def test_one_package_gives_one_text(self):
        rows = [{**row("a", LONG + str(i)), "id": name} for i, name in enumerate("xyx")]
        self.assertEqual(corpus.once(rows), rows[:2])

    def split(self, old, **shares):
        """Ids of each part; every source has two packages, and each text words of its own."""
        rows = [{**row(f"source-{s}", " ".join(f"{s}-{p}-{w}" for w in range(12))), "id": f"package-{s}-{p}"}
                for s in range(400) for p in range(2)]
        parts = corpus.split(rows, old, **{"held_out": 200, "dev": 100, "single": 0} | shares)
        return {name: {r["id"] for r in part} for name, part in parts.items()}, {r["id"]: r["source"] for r in rows}

    def test_every_text_is_in_one_part_and_every_source_on_one_side(self):
        ids, source = self.split(set())
        self.assertEqual(sorted(ids), ["dev", "held_out", "train"])
        self.assertEqual(sum(map(len, ids.values())), len(source))
        sources = [{source[i] for i in part} for part in ids.values()]
        self.assertEqual(sum(map(len, sources)), 400)
        self.assertAlmostEqual(len(ids["held_out"]) / 800, 0.2, delta=0.05)
        self.assertAlmostEqual(len(ids["dev"]) / 800, 0.1, delta=0.05)

    def test_what_old_suites_have_is_trained_on(self):
        old = {f"source-{s}" for s in range(200)} | {f"package-{s}-0" for s in range(200, 300)}
        ids, source = self.split(old, single=300)
        for part in ("held_out", "dev", "packages"):
            self.assertGreater(len(ids[part]), 20)
            self.assertFalse(ids[part] & old)
        for part in ("held_out", "dev"):
            self.assertFalse({source[i] for i in ids[part]} & old)
        self.assertEqual(ids["new"], {i for i in ids["train"] if i not in old})

    def test_single_packages_leave_their_siblings(self):
        ids, source = self.split(set(), single=300)
        self.assertFalse(ids["packages"] & ids["train"])
        self.assertGreater(len({source[i] for i in ids["packages"]} & {source[i] for i in ids["train"]}), 50)


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
