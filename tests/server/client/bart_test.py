"""BART and DistilBART from the directories that people have: text in, text out, and positions that end.

golden.json of each directory has what generate() of transformers 5.5.4 made of the same texts.
"""

import json
import unittest

import grpc
import harness
from harness import Server, api

FAMILIES = "tests/golden/families"
LAYOUTS = ("saved_5", "saved_4", "torch_save", "torch_save_legacy")
LIMIT = 48  # the texts of the layouts are cut there


def cases_of(folder):
    with open(folder + "/golden.json", encoding="utf-8") as file:
        return json.load(file)["cases"]


def greedy(**more):
    """The options of the cases' greedy runs; forced tokens are the checkpoint's."""
    return api.GenerationOptions(num_beams=1, max_new_tokens=40, min_new_tokens=0, no_repeat_ngram_size=0, **more)


def source_of(case, limit):
    """The text, where the server cuts it as the case does; else the ids."""
    if case.get("text") and case.get("max_source_length") in (None, limit):
        return {"text": case["text"]}
    return {"token_ids": api.TokenIds(ids=case["input_ids"])}


def ids_of(sequence):
    """What a reply has of ids that begin with the start token and may end with </s>."""
    ids = sequence[1:]
    return ids[:-1] if ids[-1] == 2 else ids


def joined(events):
    return "".join(e.delta.text for e in events if e.HasField("delta") and e.delta.sequence_index == 0)


class BartTest(unittest.TestCase):
    def serve(self, folder, *flags):
        server = Server("--dtype", "f32", *flags, model=f"{FAMILIES}/{folder}")
        self.addCleanup(server.stop)
        return server

    def check(self, server, case, limit):
        """With the files' options and greedily, whole and as a stream. Returns all texts."""
        texts = []
        for options, ids in ((api.GenerationOptions(), case["defaults"]["sequences"][0]),
                             (greedy(), case["greedy_ids"])):
            options.long_document_policy = api.LONG_DOCUMENT_POLICY_TRUNCATE
            request = dict(source_of(case, limit), options=options)
            summary = server.stub.Summarize(api.SummarizeRequest(**request)).summary
            self.assertEqual(list(summary.sequences[0].token_ids), ids_of(ids), case["name"])
            self.assertEqual(summary.source_tokens, len(case["input_ids"]), case["name"])
            events = list(server.stub.StreamSummarize(api.StreamSummarizeRequest(**request)))
            self.assertEqual(events[-1].finished.summary.sequences[0].text, summary.sequences[0].text)
            if options.num_beams == 1:  # of beams nothing is certain before the end
                self.assertEqual(joined(events), summary.sequences[0].text, case["name"])
            texts.append(summary.sequences[0].text)
        self.assertEqual(texts[1], case["summary"], case["name"])
        return texts

    def test_text_in_text_out(self):
        for folder in ("bart_cnn", "distilbart"):
            server = self.serve(folder)
            cases = cases_of(f"{FAMILIES}/{folder}")
            self.assertTrue(any("text" in source_of(case, None) for case in cases))
            for case in cases:
                with self.subTest(folder, case=case["name"]):
                    self.check(server, case, None)

    def test_every_layout_answers_alike(self):
        answers = []
        for layout in LAYOUTS:
            server = self.serve(f"bart_layouts/{layout}", "--max-source-tokens", str(LIMIT))
            cases = cases_of(f"{FAMILIES}/bart_layouts/{layout}")
            answers.append([self.check(server, case, LIMIT) for case in cases])
        self.assertTrue(all(texts == answers[0] for texts in answers))

    def refused(self, server, **request):
        with self.assertRaises(grpc.RpcError) as caught:
            server.stub.Summarize(api.SummarizeRequest(**request))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        return caught.exception.details()

    def test_positions_end(self):
        server = self.serve("bart_cnn")
        model = server.stub.ListModels(api.ListModelsRequest()).models[0]
        self.assertEqual((model.max_source_tokens, model.max_new_tokens), (256, 255))
        ids = [0] + [100] * 300 + [2]
        self.assertIn("has 302 tokens, the limit is 256 (the model's positions)",
                      self.refused(server, token_ids=api.TokenIds(ids=ids)))
        self.assertIn("has 602 tokens, the limit is 256 (the model's positions)",
                      self.refused(server, text=" :" * 300))
        self.assertIn("options.max_new_tokens: 256 and the start token are more than the 256 positions",
                      self.refused(server, text="A", options=api.GenerationOptions(max_new_tokens=256)))
        longest = server.stub.Summarize(api.SummarizeRequest(
            text="A", options=api.GenerationOptions(
                num_beams=1, max_new_tokens=255, min_new_tokens=255, no_repeat_ngram_size=0))).summary
        self.assertEqual(longest.sequences[0].generated_tokens, 254, "and </s>, which is forced at the end")

    def test_a_longer_source_is_cut_or_read_in_windows(self):
        server = self.serve("bart_cnn")
        ids = api.TokenIds(ids=[0] + [100 + i % 50 for i in range(600)] + [2])
        cut = server.stub.Summarize(api.SummarizeRequest(token_ids=ids, options=greedy(
            long_document_policy=api.LONG_DOCUMENT_POLICY_TRUNCATE))).summary
        self.assertEqual((cut.source_tokens, cut.source_tokens_dropped), (256, 602 - 256))
        windows = server.stub.Summarize(api.SummarizeRequest(token_ids=ids, options=greedy(
            long_document_policy=api.LONG_DOCUMENT_POLICY_WINDOWS))).summary
        self.assertEqual(windows.source_tokens, 602)
        self.assertGreaterEqual(windows.windows, 3)


if __name__ == "__main__":
    harness.main()
