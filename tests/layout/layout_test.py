"""Plants one violation of each rule of layout.py in a small tree and sees that it is found."""

import pathlib
import tempfile
import unittest

import layout

# A tree that breaks no rule.
CLEAN = {
    "README.md": "[style](docs/style.md) and [elsewhere](https://example.org)\n",
    "docs/style.md": "[top](../README.md#place)\n",
    "common/status.h": '// Status.\n#pragma once\n#include <string>\n#include "absl/status/status.h"\n',
    "kernels/ops.h": '// Ops.\n#pragma once\n#include "common/status.h"\n',
    "kernels/cpu/gemm.cc": '#include "hwy/highway.h"\n#include "kernels/ops.h"\n',
    "kernels/cpu/simd-inl.h": "// Vectors.\n",
    "kernels/ref/ops.cc": '#include "kernels/ops.h"\n',
    "engine/api/options.h": '// Options.\n#pragma once\n',
    "engine/engine.h": '// Engine.\n#pragma once\n#include "engine/api/options.h"\n#include "kernels/ops.h"\n',
    "engine/sched/plan.h": '// Plan.\n#pragma once\n#include "common/status.h"\n',
    "engine/request/text.h": '// Text.\n#pragma once\n#include "engine/engine.h"\n',
    "tools/verify/verify.h": '// Verify.\n#pragma once\n#include "engine/sched/plan.h"\n',
    "server/main.cc": '#include <grpcpp/grpcpp.h>\n#include "engine/request/text.h"\n'
    '#include "precis/v1/summarization.pb.h"\n#include "prometheus/counter.h"\n',
    "cli/main.cc": '#include "google/rpc/status.pb.h"\n#include "tools/verify/verify.h"\n',
    "tests/any_test.cc": '#include "server/main.h"\n#include "kernels/cpu/gemm.h"\n',
    "scripts/demo": "#!/bin/sh\n",
    "build/made.h": '#include "../elsewhere.h"\n',
}

# Path, text put in place of or beside the clean tree's, words of the complaint.
PLANTED = [
    ("common/clock.h", '// C.\n#pragma once\n#include "server/main.h"\n', "not allowed in common/"),
    ("kernels/ref/ops.cc", '#include "engine/engine.h"\n', "not allowed in kernels/"),
    ("kernels/ref/ops.cc", '#include "kernels/cpu/gemm.h"\n', "another's"),
    ("engine/run/x.cc", '#include "kernels/cpu/gemm.h"\n', "not allowed in engine/"),
    ("engine/run/x.cc", '#include "server/main.h"\n', "not allowed in engine/"),
    ("engine/run/x.cc", '#include "precis/v1/summarization.pb.h"\n', "knows no wire"),
    ("engine/run/x.cc", "#include <grpcpp/grpcpp.h>\n", "may know grpcpp"),
    ("engine/run/x.cc", '#  include "hwy/highway.h"\n', "may know hwy"),
    ("engine/sched/x.cc", '#include "engine/engine.h"\n', "not allowed in engine/sched"),
    ("engine/sched/x.cc", "#include <mutex>\n", "no lock"),
    ("engine/sched/x.cc", '#include "common/mutex.h"\n', "no lock"),
    ("server/x.cc", '#include "engine/sched/plan.h"\n', "not allowed in server/"),
    ("server/x.cc", '#include "kernels/ops.h"\n', "not allowed in server/"),
    ("cli/x.cc", '#include "server/main.h"\n', "not allowed in cli/"),
    ("cli/x.cc", '#include "tests/any.h"\n', "not allowed in cli/"),
    ("cli/x.cc", '#include "engine/engine.h"\n', "not allowed in cli/"),
    ("tools/verify/x.cc", '#include "server/main.h"\n', "not allowed in tools/"),
    ("engine/engine.h", '// E.\n#pragma once\n#include "engine/request/text.h"\n', "circle of folders"),
    ("cli/x.cc", "#include <prometheus/counter.h>\n", "may know prometheus"),
    ("cli/x.cc", '#include "main.h"\n', "from the root"),
    ("cli/x.cc", '#include "../engine/engine.h"\n', "from the root"),
    ("common/strings.h", "// S.\n#pragma once\n", "common/ is exactly"),
    ("scripts/release", "#!/bin/sh\n", "scripts/ is exactly"),
    ("server/long.cc", "\n" * 601, "601 lines"),
    ("server/bare.h", "// B.\n", "no #pragma once"),
    ("server/bare.h", "#pragma once\n", "begins with what it is"),
    ("docs/x.md", "see .." + "/shared/x", "outside the repository"),
    ("tests/x.py", "open('/" + "work/tmp/x')", "outside the repository"),
    ("docs/x.md", "[gone](gone.md)", "does not exist"),
]


class LayoutTest(unittest.TestCase):
    def found(self, tree):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in tree.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            return list(layout.violations(root))

    def test_a_clean_tree_has_no_violation(self):
        self.assertEqual(self.found(CLEAN), [])

    def test_each_planted_violation_is_the_one_found(self):
        for path, text, words in PLANTED:
            with self.subTest(path=path, words=words):
                found = self.found({**CLEAN, path: text})
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0].startswith(path), found)
                self.assertIn(words, found[0])

    def test_a_folder_of_too_many_sources_is_found(self):
        many = {f"cli/x{i}.cc": "" for i in range(25)}
        self.assertEqual(self.found({**CLEAN, **many}), ["cli/: 26 sources, split past 25"])


if __name__ == "__main__":
    unittest.main()
