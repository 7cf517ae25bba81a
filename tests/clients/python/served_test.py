"""Client and AsyncClient against real servers on the demo model; run by run_in_clean_venv.py."""

import asyncio
import os
import threading
import unittest

import precis_client as precis
from precis_server import TEXT, Server

GREEDY = precis.Options(num_beams=1, max_new_tokens=24)


def texts(count):
    return [f"Package number {number}. {TEXT}" for number in range(count)]


class ServedTest(unittest.TestCase):
    def start(self, *flags):
        server = Server(os.environ["PRECIS_SERVER"], os.environ["TESTED_DEVICE"], *flags)
        self.addCleanup(server.stop)
        return server

    def test_stream_unary_and_asyncio_say_the_same(self):
        server = self.start()
        with precis.Client(server.address) as client:
            client.wait_until_ready(30)
            whole = client.summarize(TEXT, GREEDY, request_id="mine-1")
            with client.stream(TEXT, GREEDY) as stream:
                kinds = [type(event) for event in stream]
            model = client.list_models()[0]
        self.assertTrue(whole.text)
        self.assertEqual(whole.request_id, "mine-1")
        self.assertEqual(whole.effective_options.max_new_tokens, 24)
        self.assertEqual(whole.sequences[0].finish_reason, precis.FinishReason.END_OF_SEQUENCE
                         if whole.sequences[0].generated_tokens < 24 else precis.FinishReason.LENGTH)
        self.assertEqual((stream.text, stream.summary.text), (whole.text, whole.text))
        self.assertEqual((kinds[0], kinds[-1]), (precis.Accepted, precis.Finished))
        self.assertIn(precis.Delta, kinds)
        self.assertEqual((model.name, model.fingerprint), (whole.model, whole.model_fingerprint))

        async def run():
            async with precis.AsyncClient(server.address) as client:
                await client.wait_until_ready(30)
                said = await asyncio.gather(
                    *(client.summarize(token_ids=[5, 6, 7, 1], options=GREEDY) for _ in range(3)))
                return await client.summarize(TEXT, GREEDY), said
        again, said = asyncio.run(run())
        self.assertEqual(again.text, whole.text)
        self.assertEqual(len({one.text for one in said}), 1)

    def test_an_error_names_its_field_and_its_reason(self):
        server = self.start()
        with precis.Client(server.address) as client:
            with self.assertRaises(precis.InvalidRequest) as caught:
                client.summarize(TEXT, precis.Options(top_p=2.0), request_id="wrong-1")
            error = caught.exception
            self.assertEqual(error.field_violations[0].field, "options.top_p")
            self.assertEqual((error.reason, error.attempts), ("INVALID_ARGUMENT", 1))
            self.assertEqual(error.request_id, "wrong-1")
            with self.assertRaises(precis.NotFound):
                client.summarize(TEXT, model="no such model")

    def test_a_full_server_is_waited_for_as_it_asks(self):
        server = self.start("--max-queue", "1")
        long = precis.Options(num_beams=1, max_new_tokens=900, min_new_tokens=900)
        with precis.Client(server.address) as client:
            with client.stream(TEXT, long) as stream:
                next(stream)
                with self.assertRaises(precis.Overloaded) as caught:
                    client.summarize(TEXT, GREEDY, timeout=0.9)  # less than the server asks for
                self.assertEqual((caught.exception.reason, caught.exception.retry_after),
                                 ("QUEUE_FULL", 1.0))
                threading.Timer(0.5, stream.cancel).start()
                self.assertTrue(client.summarize(TEXT, GREEDY, timeout=60).text)

    def test_a_burst_of_many_times_the_queue_is_answered(self):
        server = self.start("--max-queue", "8")

        async def run():
            async with precis.AsyncClient(server.address, timeout=300) as client:
                calls = [client.summarize(text, num_beams=1, max_new_tokens=4) for text in texts(100)]
                return await asyncio.gather(*calls)
        self.assertEqual(len([one.text for one in asyncio.run(run())]), 100)
        refused = server.metric('precis_requests_total{method="Summarize",outcome="queue_full"}')
        self.assertGreater(refused, 0)
        self.assertLess(refused, 200)

    def test_keywords_pieces_and_a_trace_reach_the_server(self):
        server = self.start()
        trace = "0af7651916cd43dd8448eb211c80319c"
        with precis.Client(server.address) as client:
            whole = client.summarize(TEXT, num_beams=1, max_new_tokens=24, early_stopping="never")
            said = client.stream_text(TEXT, GREEDY, metadata={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
            self.assertEqual("".join(said), whole.text)
        self.assertEqual(whole.effective_options.early_stopping, precis.EarlyStopping.NEVER)
        self.assertEqual(server.stop_and_read_log().count(trace), 1)

    def test_bulk_answers_each_document_once(self):
        server = self.start("--stream-outstanding", "4")
        given = [precis.Document(text, id=text) for text in texts(30)] + [precis.Document("")]
        with precis.Client(server.address) as client:
            results = list(client.summarize_many(given, GREEDY, outstanding=6))
        self.assertEqual(sorted(one.index for one in results), list(range(31)))
        failed = [one for one in results if one.error]
        for one in results:
            if not one.error:
                self.assertEqual(one.unwrap().effective_options.max_new_tokens, 24)
        self.assertEqual([one.index for one in failed], [30])
        self.assertEqual(failed[0].error.field_violations[0].field, "text")

    def test_bulk_goes_on_elsewhere_when_its_server_ends(self):
        servers = [self.start(), self.start()]

        async def run():
            results = []
            async with precis.AsyncClient([one.address for one in servers]) as client:
                await client.wait_until_ready(30)
                async for result in client.summarize_many(texts(60), GREEDY, outstanding=4):
                    results.append(result)
                    if len(results) == 10:
                        # Whichever of the two has the stream.
                        busy = max(servers, key=lambda one: one.metric(
                            'precis_requests_total{method="SummarizeMany",outcome="ok"}'))
                        busy.terminate()
            return results, busy
        results, busy = asyncio.run(run())
        self.assertEqual(sorted(one.index for one in results), list(range(60)))
        self.assertTrue(all(one.unwrap().text for one in results))
        self.assertEqual(busy.stop(), 0)

    def test_a_server_that_drains_is_no_error_for_a_client_of_several(self):
        servers = [self.start(), self.start()]
        with precis.Client([one.address for one in servers]) as client:
            client.wait_until_ready(30)
            for number in range(30):
                if number == 10:
                    servers[0].terminate()
                self.assertTrue(client.summarize(TEXT, GREEDY).text)
        self.assertEqual(servers[0].stop(), 0)
        ok = 'precis_requests_total{method="Summarize",outcome="ok"}'
        self.assertGreaterEqual(servers[1].metric(ok), 15)


if __name__ == "__main__":
    unittest.main(verbosity=2)
