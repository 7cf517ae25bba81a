"""The Python of docs/clients.md and of both READMEs, as it is written there, against a real server."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

from precis_server import Server

ADDRESS = "127.0.0.1:50051"


def examples(path):
    return re.findall(r"```python\n(.*?)```", pathlib.Path(path).read_text(encoding="utf-8"), re.S)


class ExamplesTest(unittest.TestCase):
    def test_they_run(self):
        server = Server(os.environ["PRECIS_SERVER"], os.environ["TESTED_DEVICE"])
        self.addCleanup(server.stop)
        for path, count in (("README.md", 1), ("docs/clients.md", 2), ("python/client/README.md", 1)):
            found = examples(path)
            self.assertEqual(len(found), count, path)
            for code in found:
                self.assertIn(ADDRESS, code)
                done = subprocess.run([sys.executable, "-c", code.replace(ADDRESS, server.address)],
                                      capture_output=True, text=True, timeout=300, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""), code)
                self.assertTrue(done.stdout.strip())
                for line in re.findall(r"# prints: (.*)", code):
                    self.assertIn(line, done.stdout.splitlines())


if __name__ == "__main__":
    unittest.main(verbosity=2)
