"""The commands of docs/clients.md for buf curl, as they stand but for the address: buf_curl_test.py SERVER BACKEND."""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

from precis_server import Server

BIN = pathlib.Path(sys.executable).parent
PROGRAM, BACKEND = sys.argv[1:3]


def commands():
    text = pathlib.Path("docs/clients.md").read_text(encoding="utf-8")
    block = re.search(r"```sh\n(buf curl.*?)```", text, re.DOTALL).group(1)
    return block.replace("\\\n", " ").strip().splitlines()


class BufCurlTest(unittest.TestCase):
    def test_they_do_what_they_say(self):
        server = Server(PROGRAM, BACKEND)
        self.addCleanup(server.stop)
        outputs = []
        for command in commands():
            self.assertIn("127.0.0.1:50051", command)
            done = subprocess.run(
                ["sh", "-c", command.replace("127.0.0.1:50051", server.address)], capture_output=True,
                text=True, check=False, timeout=120,
                env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": server.folder})
            self.assertEqual(done.returncode, 0, done.stderr)
            outputs.append(done.stdout)
        methods, unary, stream = outputs
        self.assertIn("precis.v1.SummarizationService/SummarizeMany", methods.split())
        whole = json.loads(unary)["summary"]["sequences"][0]["text"]
        self.assertTrue(whole)
        events, decoder = [], json.JSONDecoder()
        while stream.strip():
            event, end = decoder.raw_decode(stream.strip())
            events.append(event)
            stream = stream.strip()[end:]
        self.assertIn("accepted", events[0])
        self.assertEqual(events[-1]["finished"]["summary"]["sequences"][0]["text"], whole)


if __name__ == "__main__":
    if not (BIN / "buf").exists():
        print(f"missing: {BIN}/buf (scripts/setup --with=clients)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
