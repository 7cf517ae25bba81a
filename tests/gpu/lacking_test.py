"""Where no device is seen, the programs of a build with the backend cuda say so in a line and end."""

import argparse
import os
import subprocess
import unittest

ARGS = None


def run(*command):
    # A driver, where there is one, shows no device; without one the answer is the same but for its cause.
    hidden = dict(os.environ, CUDA_VISIBLE_DEVICES="")
    return subprocess.run(
        command, env=hidden, capture_output=True, text=True, timeout=120, check=False
    )


class Lacking(unittest.TestCase):
    def expect_refused(self, done):
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(
            done.stderr,
            "no device for cuda: (this machine has no NVIDIA driver|the NVIDIA driver )",
        )
        self.assertNotIn("built without CUDA", done.stderr)

    def test_the_server_does_not_start(self):
        self.expect_refused(
            run(ARGS.server, "--model", "models/demo", "--device", "cuda", "--listen", "127.0.0.1:0")
        )

    def test_verify_does_not_start(self):
        self.expect_refused(run(ARGS.precis, "verify", "models/demo", "--device", "cuda"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--precis", required=True)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=["lacking_test.py", *rest])
