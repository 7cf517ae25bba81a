"""What the tests beside this file share: tritonclient, a real server, and a summary to compare with.

Importing it skips the test (exit code 77) where tritonclient is not installed.
"""

import os
import sys

try:
    import numpy as np
    import tritonclient.grpc as triton
except ImportError as error:
    print(f"skipped: {error}; scripts/setup --with=clients installs it")
    sys.exit(77)

sys.path.insert(0, os.path.join("tests", "server", "client"))
import harness  # noqa: E402
from harness import TEXT, Server, api  # noqa: E402

MODEL = "demo"  # the name of its directory
TEXTS = [TEXT, "A library for reading and writing archives of many formats.", "Mail about a meeting."]


def text_tensor(texts, shape=None):
    tensor = triton.InferInput("text_input", shape or [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(
        np.array([text.encode() for text in texts], dtype=np.object_).reshape(shape or (-1, 1)))
    return tensor


def option_tensor(name, datatype, values):
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def texts_of(result):
    return [text.decode() for text in result.as_numpy("text_output").flatten()]


def expected(server, texts, **options):
    """The same by precis.v1."""
    options = api.GenerationOptions(num_beams=1, **options)
    return [server.stub.Summarize(api.SummarizeRequest(text=text, options=options))
            .summary.sequences[0].text for text in texts]


def main():
    harness.main()
