"""converted_test.py PRECIS: `precis convert` as a user has it, on the demo model.

Its exit codes, its signals, and a folded model that passes the goldens of the one it was made of.
"""

import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PRECIS = sys.argv[1]
MODEL = pathlib.Path("models/demo")
# A conversion of the demo model takes a tenth of a second: a signal may come too late.
TRIES = 30


class Converted(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.place = pathlib.Path(self.folder.name)
        self.made = self.place / "made"

    def precis(self, *words):
        return subprocess.run([PRECIS, *words], capture_output=True, text=True, timeout=120)

    def fold(self):
        return self.precis("convert", MODEL, self.made, "--fold", "mha")

    def test_a_fold_answers_as_the_model_it_was_made_of(self):
        done = self.fold()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("attention      mha, was wgqa", done.stdout)
        self.assertIn("golden.json: folding changes no answer", done.stdout)
        shutil.copy(MODEL / "golden.json", self.made)
        verified = self.precis("verify", self.made)
        self.assertEqual(verified.returncode, 0, verified.stdout)

    def test_nothing_is_overwritten(self):
        self.assertEqual(self.fold().returncode, 0)
        again = self.fold()
        self.assertEqual(again.returncode, 1)
        self.assertEqual(again.stderr,
                         f"precis: {self.made}: is there already; nothing is overwritten\n")

    def test_words_that_exclude_each_other_are_no_command(self):
        done = self.precis("convert", MODEL, self.made, "--fold", "mha", "--variant", "gqa")
        self.assertEqual(done.returncode, 2)
        self.assertFalse(self.made.exists())

    def test_signals_leave_nothing_behind(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                self.assertIn(1, (self.interrupted(number) for _ in range(TRIES)))

    def interrupted(self, number):
        """Ends a conversion while it writes; its exit code, 0 if it was faster."""
        run = subprocess.Popen([PRECIS, "convert", MODEL, self.made, "--fold", "mha"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while run.poll() is None and not list(self.place.iterdir()):
            time.sleep(0.001)
        run.send_signal(number)
        _, err = run.communicate(timeout=60)
        if run.returncode == 0:
            shutil.rmtree(self.made)
        else:
            self.assertIn("nothing was left behind", err)
        self.assertEqual(list(self.place.iterdir()), [])
        return run.returncode


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
