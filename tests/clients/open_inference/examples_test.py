"""The examples of docs/open_inference.md run as they stand, but for the server's address."""

import re
import subprocess
import sys
import unittest

import triton as shared
from triton import expected


def examples():
    with open("docs/open_inference.md", encoding="utf-8") as file:
        return re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL)


class ExamplesTest(unittest.TestCase):
    def test_they_print_the_summary(self):
        server = shared.Server()
        self.addCleanup(server.stop)
        found = examples()
        self.assertEqual(len(found), 2)
        for code in found:
            text = re.search(r'b"(.*?)"', code).group(1)
            self.assertIn("127.0.0.1:50051", code)
            done = subprocess.run(
                [sys.executable, "-c", code.replace("127.0.0.1:50051", server.address)],
                capture_output=True, text=True, check=False, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout, expected(server, [text], max_new_tokens=32)[0] + "\n")


if __name__ == "__main__":
    shared.main()
