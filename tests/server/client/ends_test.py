"""Every end of a checkpoint ends a summary, whoever asks and how: unary, stream, bulk, Open Inference Protocol.

The checkpoint has three ends, none of which is said where config.json says one; its golden.json has what generate() of
transformers made of the same texts.
"""

import json
import unittest

import harness
from harness import Server, api

harness.generate_stubs(["inference/model_config.proto", "inference/open_inference.proto"])
from inference import open_inference_pb2 as oip  # noqa: E402
from inference import open_inference_pb2_grpc as oip_grpc  # noqa: E402

FOLDER = "tests/golden/families/mt5_several_ends"
MOST = 40


class EndsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--dtype", "f32", model=FOLDER)
        cls.addClassCleanup(cls.server.stop)
        with open(FOLDER + "/golden.json", encoding="utf-8") as file:
            cls.cases = json.load(file)["cases"]

    @staticmethod
    def options(**more):
        return api.GenerationOptions(num_beams=1, max_new_tokens=MOST, **more)

    @staticmethod
    def wanted(case):
        """Ids without the start and the end."""
        return case["greedy_ids"][1:-1]

    def test_the_cases_have_several_ends(self):
        self.assertGreater(len({case["greedy_ids"][-1] for case in self.cases}), 1)

    def test_unary_with_and_without_drafts(self):
        for case in self.cases:
            for drafting in (api.DRAFTING_OFF, api.DRAFTING_PROMPT_LOOKUP):
                summary = self.server.stub.Summarize(api.SummarizeRequest(
                    text=case["text"], options=self.options(drafting=drafting))).summary
                sequence = summary.sequences[0]
                self.assertEqual(list(sequence.token_ids), self.wanted(case), case["name"])
                self.assertEqual(sequence.finish_reason, api.FINISH_REASON_END_OF_SEQUENCE)
                self.assertEqual(summary.source_tokens, len(case["input_ids"]), "closed by </s>")

    def test_beams(self):
        for case in self.cases:
            beams = case["beams"][0]
            options = api.GenerationOptions(
                num_beams=4, length_penalty=2.0, early_stopping=api.EARLY_STOPPING_TRUE, no_repeat_ngram_size=3,
                max_new_tokens=MOST)
            summary = self.server.stub.Summarize(api.SummarizeRequest(text=case["text"], options=options)).summary
            self.assertEqual(list(summary.sequences[0].token_ids), beams["sequences"][0][1:-1], case["name"])

    def test_a_sample_that_can_only_be_the_best_ends_as_it_does(self):
        for case in self.cases:
            summary = self.server.stub.Summarize(api.SummarizeRequest(
                text=case["text"], options=self.options(temperature=1.0, top_k=1, seed=3))).summary
            self.assertEqual(list(summary.sequences[0].token_ids), self.wanted(case), case["name"])

    def test_no_end_comes_before_the_minimum(self):
        for case in self.cases:
            summary = self.server.stub.Summarize(api.SummarizeRequest(
                text=case["text"], options=self.options(min_new_tokens=MOST))).summary
            ids = list(summary.sequences[0].token_ids)
            self.assertEqual((len(ids), {1, 44, 171} & set(ids)), (MOST, set()), case["name"])

    def test_streams_and_bulk(self):
        for case in self.cases:
            events = list(self.server.stub.StreamSummarize(
                api.StreamSummarizeRequest(text=case["text"], options=self.options())))
            self.assertEqual(list(events[-1].finished.summary.sequences[0].token_ids), self.wanted(case))
        requests = [api.SummarizeManyRequest(id=case["name"], text=case["text"], options=self.options())
                    for case in self.cases]
        got = {reply.id: list(reply.summary.sequences[0].token_ids)
               for reply in self.server.stub.SummarizeMany(iter(requests))}
        self.assertEqual(got, {case["name"]: self.wanted(case) for case in self.cases})

    def test_open_inference_protocol(self):
        stub = oip_grpc.GRPCInferenceServiceStub(self.server.channel)
        name = self.server.stub.ListModels(api.ListModelsRequest()).models[0].name
        for case in self.cases:
            request = oip.ModelInferRequest(model_name=name)
            text = request.inputs.add(name="text_input", datatype="BYTES", shape=[1])
            text.contents.bytes_contents.append(case["text"].encode())
            for option, value in (("beam_width", 1), ("max_tokens", MOST)):
                request.parameters[option].int64_param = value
            reply = stub.ModelInfer(request)
            outputs = {o.name: raw for o, raw in zip(reply.outputs, reply.raw_output_contents)}
            self.assertEqual(int.from_bytes(outputs["generated_tokens"], "little"), len(self.wanted(case)))
            self.assertIn(b"end_of_sequence", outputs["finish_reason"])


if __name__ == "__main__":
    harness.main()
