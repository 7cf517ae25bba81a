"""For the tests beside this file: python/recipes on the path, and a skip where a module is not installed."""
import importlib.util
import json
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "tests" / "golden"
SKIPPED = 77  # ctest's SKIP_RETURN_CODE
sys.path[:0] = [str(ROOT / "python" / "recipes"), str(FIXTURES)]
sys.dont_write_bytecode = True

TEXTS = [("The harbour ferry was late again, and nobody was told why before noon.", "ferry late again"),
         ("Please move the planning meeting to Thursday at ten; the budget is not ready.", "meeting on Thursday"),
         ("The council met on Monday to decide about the old railway station.", "council on the station"),
         ("A puzzle game about moving crates in a warehouse with an editor.", "puzzle game with crates")]


def need(*modules):
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        print(f"skipped: {sys.executable} has no {', '.join(missing)} (python/recipes/requirements-training.txt)")
        sys.exit(SKIPPED)


def write_texts(path, count=24):
    rows = [TEXTS[i % len(TEXTS)] for i in range(count)]
    path.write_text("".join(json.dumps({"document": f"{i} {d}", "summary": s}) + "\n"
                            for i, (d, s) in enumerate(rows)))
    return path


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2)
