"""tritonclient, unchanged, against the real server: synchronous, asynchronous, streaming, asyncio."""

import asyncio
import queue
import threading
import unittest

import triton as shared  # first: it skips the test where these are not installed
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException
from triton import MODEL, TEXTS, expected, option_tensor, text_tensor, texts_of

GREEDY = {"beam_width": 1, "max_tokens": 24}
V1 = {"max_new_tokens": 24}


class TritonClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = shared.Server()
        cls.addClassCleanup(cls.server.stop)
        cls.answers = expected(cls.server, TEXTS, **V1)

    def setUp(self):
        self.client = triton.InferenceServerClient(self.server.address)
        self.addCleanup(self.client.close)

    def refused(self, code, word, call):
        with self.assertRaises(InferenceServerException) as caught:
            call()
        self.assertEqual(caught.exception.status(), f"StatusCode.{code}")
        self.assertIn(word, caught.exception.message())

    def test_server_and_model_tell_what_they_are(self):
        client = self.client
        self.assertTrue(client.is_server_live() and client.is_server_ready())
        self.assertTrue(client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1"))
        self.assertFalse(client.is_model_ready("other") or client.is_model_ready(MODEL, "2"))
        self.assertEqual(client.get_server_metadata().name, "precis")
        metadata = client.get_model_metadata(MODEL, as_json=True)
        self.assertEqual(metadata["inputs"][0],
                         {"name": "text_input", "datatype": "BYTES", "shape": ["-1", "1"]})
        config = client.get_model_config(MODEL).config
        self.assertTrue(config.model_transaction_policy.decoupled)
        self.assertTrue(config.HasField("dynamic_batching"))
        self.assertEqual([i.optional for i in config.input][:2], [False, True])
        self.assertEqual(client.get_model_repository_index().models[0].state, "READY")
        self.refused("NOT_FOUND", "demo", lambda: client.get_model_config("other"))
        self.refused("NOT_FOUND", "version", lambda: client.get_model_metadata(MODEL, "7"))

    def test_what_is_not_served_is_refused_in_words(self):
        self.refused("UNIMPLEMENTED", "started with", lambda: self.client.load_model(MODEL))
        self.refused("UNIMPLEMENTED", "shared memory",
                     lambda: self.client.get_system_shared_memory_status())
        self.refused("UNIMPLEMENTED", "operator", lambda: self.client.get_log_settings())

    def test_one_text_and_several_are_answered_as_by_our_own_protocol(self):
        one = self.client.infer(MODEL, [text_tensor(TEXTS[:1], [1])], parameters=GREEDY,
                                request_id="one")
        self.assertEqual(texts_of(one), self.answers[:1])
        self.assertEqual(one.get_response().id, "one")
        self.assertGreater(one.as_numpy("generated_tokens")[0], 0)
        self.assertIn(one.as_numpy("finish_reason")[0], (b"end_of_sequence", b"length"))
        three = self.client.infer(MODEL, [text_tensor(TEXTS)], parameters=GREEDY,
                                  outputs=[triton.InferRequestedOutput("text_output")])
        self.assertEqual(texts_of(three), self.answers)
        self.assertEqual(three.as_numpy("text_output").shape, (3, 1))
        self.assertIsNone(three.as_numpy("finish_reason"))

    def test_options_as_tensors(self):
        rows = [[4], [24], [9]]
        result = self.client.infer(MODEL, [
            text_tensor(TEXTS),
            option_tensor("max_tokens", "INT32", np.array(rows, dtype=np.int32)),
            option_tensor("beam_width", "INT32", np.array([1], dtype=np.int32)),
            option_tensor("length_penalty", "FP32", np.array([[1.0]], dtype=np.float32)),
        ])
        self.assertEqual(texts_of(result),
                         [expected(self.server, [text], max_new_tokens=most)[0]
                          for text, (most,) in zip(TEXTS, rows)])

    def test_bad_requests_name_what_is_wrong(self):
        infer = self.client.infer
        good = [text_tensor(TEXTS[:1])]
        self.refused("NOT_FOUND", "model_name", lambda: infer("other", good))
        self.refused("INVALID_ARGUMENT", "colour", lambda: infer(MODEL, good, parameters={"colour": 1}))
        self.refused("INVALID_ARGUMENT", "temperature",
                     lambda: infer(MODEL, good, parameters={"temperature": -1.0}))
        self.refused("INVALID_ARGUMENT", "beam_width",
                     lambda: infer(MODEL, good + [option_tensor(
                         "beam_width", "FP32", np.array([1], dtype=np.float32))]))
        self.refused("INVALID_ARGUMENT", "text_input", lambda: infer(MODEL, []))

    def test_callbacks_of_async_infer(self):
        done = queue.Queue()
        for i, text in enumerate(TEXTS):
            self.client.async_infer(
                MODEL, [text_tensor([text])], parameters=GREEDY,
                callback=lambda result, error, i=i: done.put((i, result, error)))
        found = {}
        for _ in TEXTS:
            i, result, error = done.get(timeout=60)
            self.assertIsNone(error)
            found[i] = texts_of(result)[0]
        self.assertEqual([found[i] for i in range(len(TEXTS))], self.answers)

    def test_a_stream_brings_pieces_and_survives_a_failure(self):
        come = queue.Queue()
        self.client.start_stream(lambda result, error: come.put((result, error)))
        send = self.client.async_stream_infer
        send(MODEL, [text_tensor(TEXTS[:1])], request_id="bad", parameters={"top_p": 7.0})
        for i, text in enumerate(TEXTS):
            send(MODEL, [text_tensor([text]), option_tensor("stream", "BOOL", np.array([True]))],
                 request_id=str(i), parameters=GREEDY, enable_empty_final_response=True)
        found, pieces, errors, left = {}, {}, [], len(TEXTS) + 1
        while left:
            result, error = come.get(timeout=60)
            if error is not None:
                errors.append(error)
                left -= 1
                continue
            response = result.get_response()
            if response.outputs:
                found[response.id] = found.get(response.id, "") + texts_of(result)[0]
                pieces[response.id] = pieces.get(response.id, 0) + 1
            left -= response.parameters["triton_final_response"].bool_param
        self.client.stop_stream()
        self.assertTrue(come.empty())
        self.assertEqual([found[str(i)] for i in range(len(TEXTS))], self.answers)
        # At least one before the end; how many depends on how fast they are read.
        self.assertGreater(min(pieces.values()), 1)
        self.assertEqual(len(errors), 1)
        self.assertIn("top_p", errors[0].message())

    def test_asyncio_infer_and_stream(self):
        async def run():
            async with triton_aio.InferenceServerClient(self.server.address) as client:
                whole = await asyncio.gather(*(client.infer(
                    MODEL, [text_tensor([text])], parameters=GREEDY) for text in TEXTS))

                async def requests():
                    yield {"model_name": MODEL, "inputs": [text_tensor(TEXTS[:1])],
                           "parameters": {**GREEDY, "stream": True}}
                text = ""
                async for result, error in client.stream_infer(requests()):
                    self.assertIsNone(error)
                    text += texts_of(result)[0]
                return [texts_of(result)[0] for result in whole], text
        whole, streamed = asyncio.run(run())
        self.assertEqual(whole, self.answers)
        self.assertEqual(streamed, self.answers[0])

    def test_leaving_amid_a_stream_gives_the_pages_back(self):
        first = threading.Event()
        self.client.start_stream(lambda result, error: first.set())
        self.client.async_stream_infer(
            MODEL, [text_tensor(TEXTS[:1])],
            parameters={"stream": True, "beam_width": 1, "max_tokens": shared.harness.LONG,
                        "min_tokens": shared.harness.LONG})
        self.assertTrue(first.wait(60))
        self.client.stop_stream(cancel_requests=True)
        self.server.wait_idle(self)

    def test_statistics_grow_with_what_was_done(self):
        def read():
            return self.client.get_inference_statistics(MODEL).model_stats[0]
        before = read()
        self.client.infer(MODEL, [text_tensor(TEXTS)], parameters=GREEDY)
        after = read()
        self.assertEqual(after.inference_count - before.inference_count, len(TEXTS))
        self.assertGreater(after.execution_count, before.execution_count)
        self.assertGreater(after.inference_stats.compute_infer.ns,
                           before.inference_stats.compute_infer.ns)


if __name__ == "__main__":
    shared.main()
