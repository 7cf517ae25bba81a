"""The words on the wire under buf: proto/ passes its lint, and breaks nothing of the last release's
(wire_baseline.txtpb). What buf must find is planted in a copy. Offline: proto/ depends on no module.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BUF = pathlib.Path(sys.executable).parent / "buf"
BASELINE = pathlib.Path("tests/clients/wire_baseline.txtpb").resolve()
OURS = "precis/v1/summarization.proto"
RESTATED = "inference/open_inference.proto"


class WireTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="precis_wire_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.proto = self.folder / "proto"
        shutil.copytree("proto", self.proto)

    def buf(self, *words):
        """Its findings, one a line, by `FILE: RULE`. No call may want the network: a proxy that is not there."""
        done = subprocess.run(
            [BUF, *words, "--error-format", "json"], cwd=self.proto, capture_output=True, text=True,
            check=False, timeout=300, env={
                "PATH": os.environ["PATH"], "HOME": str(self.folder),
                "HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"})
        # 100: it has findings. Anything else is no answer.
        self.assertIn(done.returncode, (0, 100), done.stderr)
        self.assertEqual(done.returncode == 100, bool(done.stdout), done.stderr)
        return done.stdout

    def lint(self):
        return self.buf("lint")

    def breaking(self):
        return self.buf("breaking", "--against", str(BASELINE))

    def change(self, old, new, file=OURS):
        text = (self.proto / file).read_text(encoding="utf-8")
        self.assertIn(old, text)
        (self.proto / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    def test_ours_are_as_they_should_be(self):
        self.assertEqual(self.lint(), "")
        self.assertEqual(self.breaking(), "")

    def test_each_exception_is_needed(self):
        for ignored in ("google", "grpc", "inference"):
            with self.subTest(ignored):
                config = (self.proto / "buf.yaml").read_text(encoding="utf-8")
                lines = [line for line in config.splitlines() if not line.startswith(f"    - {ignored} ")]
                self.assertEqual(len(lines), len(config.splitlines()) - 1)
                (self.proto / "buf.yaml").write_text("\n".join(lines), encoding="utf-8")
                self.assertIn(f'"path":"{ignored}/', self.lint())
                (self.proto / "buf.yaml").write_text(config, encoding="utf-8")

    def test_a_field_with_another_number_breaks(self):
        self.change("string adapter = 2;", "string adapter = 7;")
        self.assertIn("FIELD_NO_DELETE", self.breaking())

    def test_a_field_with_another_type_breaks(self):
        self.change("uint32 generated_tokens = 2;", "string generated_tokens = 2;")
        self.assertIn("FIELD_SAME_TYPE", self.breaking())

    def test_a_field_that_is_gone_breaks(self):
        self.change("  optional uint64 noise_seed = 23;\n", "")
        self.assertIn("FIELD_NO_DELETE", self.breaking())

    def test_a_method_that_is_gone_breaks(self):
        self.change("  rpc ListModels(ListModelsRequest) returns (ListModelsResponse);\n", "")
        self.assertIn("RPC_NO_DELETE", self.breaking())

    def test_what_is_restated_may_not_break_either(self):
        self.change("string model_name = 1;", "string model_title = 1;", RESTATED)
        self.assertIn("FIELD_SAME_NAME", self.breaking())

    def test_a_new_field_breaks_nothing(self):
        self.change("  optional uint64 noise_seed = 23;\n",
                    "  optional uint64 noise_seed = 23;\n  // New.\n  optional uint32 more = 24;\n")
        self.assertEqual(self.breaking(), "")
        self.assertEqual(self.lint(), "")

    def test_lint_finds_a_bad_name_and_a_missing_comment(self):
        self.change("uint32 generated_tokens = 2;", "uint32 generatedTokens = 2;")
        self.change("  // The ids.\n", "")
        found = self.lint()
        self.assertIn("FIELD_LOWER_SNAKE_CASE", found)
        self.assertIn("COMMENT_FIELD", found)


if __name__ == "__main__":
    if not BUF.exists():
        print(f"missing: {BUF} (scripts/setup --with=clients)")
        sys.exit(77)
    unittest.main(verbosity=2)
