"""A real Envoy with our configuration in front of real servers on the demo model: balancing, retries,
ejection, a rolling restart under load, and JSON. Everything is on 127.0.0.1.
"""

import concurrent.futures
import http.client
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path += ["tests/clients", "tests/server/client"]
import harness  # noqa: E402
import precis_server  # noqa: E402
from harness import ARGS, TEXT, api, api_grpc, free_port  # noqa: E402
from proxy import BINARY, Envoy, installed_in  # noqa: E402

import grpc  # noqa: E402

OPTIONS = api.GenerationOptions(num_beams=1, max_new_tokens=24)
PATH = "/precis.v1.SummarizationService/"
QUEUE_FULL = 'precis_requests_total{method="Summarize",outcome="queue_full"}'
DONE = 'precis_requests_total{method="Summarize",outcome="ok"}'


class Held:
    """An open bulk stream, which holds a place of a server's queue until it is closed."""

    def __init__(self, address):
        self._requests = queue.Queue()
        self.channel = grpc.insecure_channel(address)
        stub = api_grpc.SummarizationServiceStub(self.channel)
        self.call = stub.SummarizeMany(iter(self._requests.get, None))
        self.call.initial_metadata()  # the stream is open

    def close(self):
        self._requests.put(None)
        for _ in self.call:
            pass
        self.channel.close()


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not come about")
        time.sleep(0.01)


def fields_of(error):
    """The fields that a JSON error blames."""
    return [one["field"] for detail in error["details"]
            for one in detail.get("fieldViolations", []) + detail.get("field_violations", [])]


class EnvoyTest(unittest.TestCase):
    def start(self, *flags):
        health = free_port()
        server = precis_server.Server(ARGS.server, ARGS.backend, "--health-listen",
                                      f"127.0.0.1:{health}", *flags)
        server.health = health
        self.addCleanup(server.stop)
        return server

    def envoy(self, *servers):
        envoy = Envoy([(one.port, one.health) for one in servers])
        self.addCleanup(envoy.stop)
        channel = grpc.insecure_channel(envoy.address, options=[("grpc.enable_retries", 0)])
        self.addCleanup(channel.close)
        self.stub = api_grpc.SummarizationServiceStub(channel)
        return envoy

    def summarize(self, text=TEXT):
        request = api.SummarizeRequest(text=text, options=OPTIONS)
        return self.stub.Summarize(request, timeout=120).summary.sequences[0].text

    def test_the_configuration_is_valid_as_it_is_shipped(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/envoy.yaml", "w", encoding="utf-8") as file:
                file.write(installed_in(folder))
            done = subprocess.run([BINARY, "--mode", "validate", "-c", f"{folder}/envoy.yaml"],
                                  capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_call_goes_where_the_fewest_are_outstanding(self):
        servers = [self.start() for _ in range(3)]
        envoy = self.envoy(*servers)
        held = {}
        for _ in servers:  # each knows of those before
            before = [one.metric("precis_admitted_requests") for one in servers]
            stream = Held(envoy.address)
            wait_until(lambda before=before: before != [
                one.metric("precis_admitted_requests") for one in servers])
            (place,) = [at for at, one in enumerate(servers)
                        if one.metric("precis_admitted_requests") != before[at]]
            held[place] = stream
        self.assertEqual(set(held), {0, 1, 2})
        held[0].close()
        held[1].close()
        wait_until(lambda: envoy.stat("cluster.precis.upstream_rq_active") == 1)
        for _ in range(8):
            self.assertTrue(self.summarize())
        counts = [one.metric(DONE) for one in servers]
        self.assertEqual((counts[2], sum(counts)), (0, 8))
        held[2].close()

    def test_a_refusal_is_tried_again_after_the_time_that_the_server_said(self):
        server = self.start("--max-queue", "1")
        envoy = self.envoy(server)
        held = Held(server.address)
        wait_until(lambda: server.metric("precis_admitted_requests") == 1)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            begin = time.monotonic()
            answer = pool.submit(self.summarize)
            wait_until(lambda: server.metric(QUEUE_FULL) >= 1)
            held.close()
            self.assertTrue(answer.result())
        self.assertGreaterEqual(time.monotonic() - begin, 1.0)
        self.assertGreaterEqual(envoy.stat("cluster.precis.upstream_rq_retry_backoff_ratelimited"), 1)

    def test_what_a_full_server_refuses_another_answers(self):
        full, free = self.start("--max-queue", "1"), self.start()
        self.envoy(full, free)
        held = Held(full.address)
        wait_until(lambda: full.metric("precis_admitted_requests") == 1)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            texts = set(pool.map(lambda _: self.summarize(), range(16)))
        self.assertEqual(len(texts), 1)
        self.assertEqual((full.metric(DONE), free.metric(DONE)), (0, 16))
        self.assertGreaterEqual(full.metric(QUEUE_FULL), 1)
        held.close()

    def test_a_server_that_fails_is_ejected(self):
        good = self.start()

        def fail(_, context):
            context.abort(grpc.StatusCode.UNAVAILABLE, "broken")

        class Broken(grpc.GenericRpcHandler):
            def service(self, _):
                return grpc.unary_unary_rpc_method_handler(fail)

        broken = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[Broken()])
        port = broken.add_insecure_port("127.0.0.1:0")
        broken.start()
        self.addCleanup(lambda: broken.stop(0).wait())
        broken.port, broken.health = port, good.health  # it says that it is well
        envoy = self.envoy(good, broken)
        end = time.monotonic() + 60
        ejected = "cluster.precis.outlier_detection.ejections_enforced_consecutive_gateway_failure"
        while envoy.stat(ejected) == 0:
            self.assertLess(time.monotonic(), end)
            self.assertTrue(self.summarize())

    def test_a_rolling_restart_under_load_loses_nothing(self):
        servers = [self.start() for _ in range(2)]
        envoy = self.envoy(*servers)
        texts = [f"Package number {number}. {TEXT}" for number in range(4)]
        wanted = [self.summarize(text) for text in texts]
        over = threading.Event()

        def load(number):
            answered = 0
            while not over.is_set():
                self.assertEqual(self.summarize(texts[number]), wanted[number])
                answered += 1
            return answered

        with concurrent.futures.ThreadPoolExecutor(len(texts)) as pool:
            loads = [pool.submit(load, number) for number in range(len(texts))]
            try:
                for server in servers:
                    before = server.metric(DONE)
                    wait_until(lambda: server.metric(DONE) > before)  # pylint: disable=W0640
                    self.assertEqual(server.end(), 0)
                    server.start()
                    wait_until(lambda: server.metric("precis_healthy") == 1)
                    # As a roll-out does: the next goes when this one takes calls.
                    wait_until(lambda: server.metric(DONE) > 0)
                    envoy.wait_for("cluster.precis.membership_healthy", 2)
            finally:
                over.set()
            answered = sum(one.result() for one in loads)
        print(f"\n{answered} asked and answered, "
              f"{envoy.stat('cluster.precis.upstream_rq_retry')} tried again", flush=True)
        self.assertGreater(answered, 2 * len(texts))
        self.assertEqual(envoy.stat("http.precis.downstream_rq_total"), answered + len(texts))

    def post(self, envoy, method, body, content_type="application/json"):
        connection = http.client.HTTPConnection(envoy.address, timeout=120)
        self.addCleanup(connection.close)
        text = body if isinstance(body, str) else json.dumps(body)
        connection.request("POST", PATH + method, text, {"content-type": content_type})
        return connection.getresponse()

    def test_a_stream_is_an_array_that_grows(self):
        server = self.start()
        options = {"num_beams": 1, "min_new_tokens": harness.LONG, "max_new_tokens": harness.LONG}
        reply = self.post(self.envoy(server), "StreamSummarize", {"text": TEXT, "options": options})
        first = b""
        while b"request_id" not in first:
            first += reply.read1(1)
        self.assertEqual(server.metric(DONE.replace("Summarize", "StreamSummarize")), 0)
        self.assertIn("finished", json.loads(first + reply.read())[-1])
        self.assertEqual(server.metric(DONE.replace("Summarize", "StreamSummarize")), 1)

    def test_json_in_and_out(self):
        envoy = self.envoy(self.start())
        body = {"text": TEXT, "options": {"num_beams": 1, "max_new_tokens": 24}}
        reply = self.post(envoy, "Summarize", body)
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, "application/json"))
        text = self.summarize()
        summary = json.load(reply)["summary"]
        self.assertEqual(summary["sequences"][0]["text"], text)
        self.assertEqual(json.load(self.post(envoy, "ListModels", {}))["models"][0]["name"],
                         summary["model"])

        events = json.load(self.post(envoy, "StreamSummarize", body))
        self.assertIn("accepted", events[0])
        self.assertEqual("".join(one["delta"]["text"] for one in events if "delta" in one), text)
        self.assertEqual(events[-1]["finished"]["summary"]["sequences"][0]["text"], text)

        reply = self.post(envoy, "Summarize", {"text": TEXT, "options": {"top_p": 2}})
        self.assertEqual(reply.status, 400)
        error = json.load(reply)
        self.assertEqual(error["code"], 3)
        self.assertEqual(fields_of(error), ["options.top_p"])

    def test_an_unknown_json_field_is_refused_by_name(self):
        server = self.start()
        envoy = self.envoy(server)
        for method, body, fields in (
                ("Summarize", {"txt": TEXT}, ["txt"]),
                ("Summarize", {"text": TEXT, "options": {"num_beams": 1, "num_beems": 1}},
                 ["options.num_beems"]),
                ("StreamSummarize", {"text": TEXT, "options": {"bad_words": {"words": [{"id": [1]}]}}},
                 ["options.bad_words.words.id"]),
                ("SummarizeMany", [{"id": "1", "text": TEXT}, {"id": "2", "text": TEXT, "x": {}}], ["x"]),
                ("ListModels", {"model": ""}, ["model"]),
                # What the transcoder would take for something else, or blame on no field.
                ("Summarize", {"text": TEXT, "options": {"stop": [["a"]]}}, ["options.stop"]),
                ("Summarize", {"text": {"a": 1}}, ["text"])):
            reply = self.post(envoy, method, body)
            self.assertEqual((reply.status, reply.headers["content-type"]), (400, "application/json"))
            error = json.load(reply)
            self.assertEqual((error["code"], fields_of(error)), (3, fields), body)
            self.assertIn(fields[0], error["message"])
        for broken in ('{"text": "x"', '{"text": "x"} {}', "{text: 'x'}", '{"a b": 1}', "[" * 100):
            reply = self.post(envoy, "Summarize", broken)
            self.assertEqual(reply.status, 400, broken)
        asked = self.post(envoy, "Summarize?num_beems=1", {"text": TEXT})
        self.assertEqual(asked.status, 400)
        self.assertIn(b"num_beems", asked.read())
        self.assertEqual(server.metric(DONE), 0)
        # Names as in the proto, and in camel case, escaped or with any content type.
        options = '{"numBeams": 1, "max_new_tokens": 4, "stop": ["\\"}"], "suppressedTokenIds": {"ids": [7]}}'
        body = '{"te\\u0078t": "a \\"quoted\\" word, {\\"x\\": 1}", "options": %s}' % options
        self.assertEqual(self.post(envoy, "Summarize", body, "text/plain").status, 200)
        many = self.post(envoy, "SummarizeMany", [{"id": "1", "text": TEXT, "options": {"num_beams": 1}}])
        self.assertEqual([one["id"] for one in json.load(many)], ["1"])

    def test_an_unknown_path_is_not_found(self):
        envoy = self.envoy(self.start())
        for verb, path in (("GET", "/"), ("GET", "/metrics"), ("POST", "/v1/summarize"),
                           ("POST", PATH + "Sumarize"), ("GET", PATH + "Summarize"),
                           ("POST", "/grpc.health.v1.Health/Check")):
            for kind in ("application/json", "text/html", "application/grpc-web"):
                if kind == "application/grpc-web" and verb == "GET":
                    continue
                connection = http.client.HTTPConnection(envoy.address, timeout=120)
                self.addCleanup(connection.close)
                body = "{}" if verb == "POST" else None
                connection.request(verb, path, body, {"content-type": kind})
                self.assertEqual(connection.getresponse().status, 404, (verb, path, kind))
        with grpc.insecure_channel(envoy.address) as channel:  # gRPC has a status of its own for that
            with self.assertRaises(grpc.RpcError) as caught:
                channel.unary_unary(PATH + "Sumarize")(b"", timeout=60)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


if __name__ == "__main__":
    harness.main()
