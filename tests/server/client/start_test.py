"""What an operator types to start a server: numbers beyond the machine, too little memory, paths that are no model,
names, and the verdict of --check. The real binary; nothing here takes more memory than a tiny model does.
"""

import os
import pathlib
import re
import resource
import subprocess
import tempfile
import time
import unittest

import harness

MODEL = "models/demo"
TOO_LITTLE_FOR_THE_LINKER = 127
# Megabytes that are enough for the demo model and for the threads of so many CPUs, by far.
ENOUGH = 700 + 40 * os.cpu_count()


def sizes(least, number):
    """Megabytes from too little to enough: the steps end in the midst of something."""
    return range(least, ENOUGH, (ENOUGH - least) // number)


def bounded(address_space=None, data=None):
    """What a child process does to have no more memory than this."""
    def bound():
        if address_space is not None:
            resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
        if data is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (data, data))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return bound


def clean():
    """The environment without options of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PRECIS_")}


def check(*flags, model=MODEL, address_space=None, data=None, timeout=120):
    """precis-server --check: its exit code and its lines."""
    bound = bounded(address_space, data)
    done = subprocess.run(
        [harness.ARGS.server, "--check", "--model", model, "--device", harness.ARGS.backend, *flags],
        capture_output=True, text=True, timeout=timeout, preexec_fn=bound, env=clean())
    return done.returncode, (done.stderr + done.stdout).strip().splitlines()


class Memory(unittest.TestCase):
    def test_a_pool_beyond_the_machine_is_refused_at_once(self):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        for size in (f"{2 * memory >> 30}G", "9999999999G"):
            with self.subTest(size=size):
                # Bounded: a check that did fill memory would end here and not on the machine.
                code, lines = check("--pool-bytes", size, "--threads", "1", address_space=8 << 30)
                self.assertEqual((code, len(lines)), (1, 1), lines)
                self.assertRegex(lines[0], "cannot be served: not enough memory: .* are needed: .*"
                                           "for the page pool .--pool-bytes.")

    def test_workspaces_beyond_the_machine_are_refused(self):
        for flags in (["--max-source-tokens", "131072", "--max-batch", "1024"],
                      ["--max-sequences", "1048576"]):
            code, lines = check(*flags, "--pool-bytes", "64M", "--threads", "1",
                                address_space=1 << 30)
            self.assertEqual((code, len(lines)), (1, 1), lines)
            self.assertIn("for workspaces (--max-source-tokens, --max-batch, --max-sequences)",
                          lines[0])

    def test_too_little_memory_is_said_in_a_line(self):
        codes = set()
        for megabytes in sizes(100, 20):
            code, lines = check("--pool-bytes", "16M", "--threads", "1",
                                address_space=megabytes << 20)
            if code == TOO_LITTLE_FOR_THE_LINKER:
                continue
            codes.add(code)
            self.assertIn(code, (0, 1), f"{megabytes} MB: {lines}")
            if code == 1:
                self.assertEqual(len(lines), 1, f"{megabytes} MB: {lines}")
                self.assertRegex(lines[0], "not enough memory", f"{megabytes} MB")
        self.assertEqual(codes, {0, 1}, "the steps reach from too little to enough")

    def test_what_fails_in_the_midst_of_loading_is_said_in_a_line(self):
        # This limit is not looked at before: each size lets another allocation fail.
        codes = set()
        for megabytes in sizes(8, 45):
            code, lines = check("--pool-bytes", "16M", "--threads", "1", data=megabytes << 20)
            codes.add(code)
            if code == 0:
                break
            self.assertEqual((code, len(lines)), (1, 1), f"{megabytes} MB: {lines}")
            self.assertRegex(lines[0], "precis-server: (cannot be served: )?not enough memory",
                             f"{megabytes} MB")
        self.assertEqual(codes, {0, 1}, "the steps reach from too little to enough")

    def test_a_server_that_starts_in_little_memory_serves_or_says_why_not(self):
        for megabytes in sizes(160, 30):
            with tempfile.TemporaryDirectory() as folder:
                ports, log = pathlib.Path(folder) / "ports", pathlib.Path(folder) / "log"
                with log.open("w") as file:
                    server = subprocess.Popen(
                        [harness.ARGS.server, "--model", MODEL, "--device", harness.ARGS.backend,
                         "--threads", "1", "--pool-bytes", "16M", "--listen", "127.0.0.1:0",
                         "--metrics-listen", "127.0.0.1:0", "--port-file", ports],
                        stderr=file, preexec_fn=bounded(data=megabytes << 20), env=clean())
                while server.poll() is None and not ports.exists():
                    time.sleep(0.01)
                if ports.exists():
                    server.terminate()
                    self.assertEqual(server.wait(timeout=60), 0, log.read_text())
                    return
                self.assertEqual(server.returncode, 1, f"{megabytes} MB: {log.read_text()}")
                self.assertIn("not enough memory", log.read_text().splitlines()[-1])
        self.fail("the steps do not reach from too little to enough")

    def test_more_threads_than_there_is_room_for_are_said_in_a_line(self):
        code, lines = check("--pool-bytes", "16M", "--threads", "1", "--text-threads", "256",
                            address_space=1 << 30)
        self.assertEqual((code, len(lines)), (1, 1), lines)
        self.assertRegex(lines[0], "not enough memory: .*thread")


class Words(unittest.TestCase):
    def test_check_ends_with_a_verdict(self):
        code, lines = check("--pool-bytes", "16M", "--threads", "1", "--dtype", "f32")
        self.assertEqual(code, 0, lines)
        self.assertRegex(lines[-1], r"^ok: models/demo can be served as demo \(weights f32, .*\)$")

    def test_what_is_no_model_gets_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            gguf = pathlib.Path(folder) / "t5.gguf"
            gguf.write_bytes(b"GGUF\x03")
            for model, said in (("google/flan-t5-small", "hf download google/flan-t5-small"),
                                (str(gguf), "is a GGUF file"), (f"{folder}/nowhere", "no such directory"),
                                (f"{MODEL}/config.json", "give its directory, models/demo")):
                with self.subTest(model=model):
                    code, lines = check(model=model)
                    self.assertEqual((code, len(lines)), (1, 1), lines)
                    self.assertIn("cannot be served: " + model, lines[0])
                    self.assertIn(said, lines[0])

    def test_unknown_words_are_met_with_the_nearest_ones(self):
        for flags, said in ((["--max-bach", "8"], "--max-bach: unknown option; did you mean --max-batch?"),
                            (["--port", "1"], "--port: unknown option; did you mean --listen?"),
                            (["mine"], "mine: is not expected here; did you mean --model mine?")):
            with self.subTest(flags=flags):
                code, lines = check(*flags)
                self.assertEqual((code, lines), (1, ["precis-server: " + said]))


class Names(unittest.TestCase):
    def served(self, *flags, model=MODEL):
        server = harness.Server("--threads", "1", *flags, model=model)
        self.addCleanup(server.stop)
        return server

    def names(self, server):
        """The name as ListModels and as the metrics say it."""
        listed = server.stub.ListModels(harness.api.ListModelsRequest(), timeout=30)
        found = re.search(r'precis_model_info\{[^}]*name="([^"]*)"', server.raw_metrics())
        return [model.name for model in listed.models], found and found[1]

    def test_the_operator_names_the_model(self):
        server = self.served("--served-model-name", "org/news@1")
        self.assertEqual(self.names(server), (["org/news@1"], "org/news@1"))
        request = harness.api.SummarizeRequest(model="org/news@1", text=harness.TEXT)
        request.options.max_new_tokens = 2
        reply = server.stub.Summarize(request, timeout=60)
        self.assertEqual(len(reply.summary.sequences), 1)
        request.model = "demo"
        with self.assertRaises(harness.grpc.RpcError) as caught:
            server.stub.Summarize(request, timeout=60)
        self.assertEqual(caught.exception.code(), harness.grpc.StatusCode.NOT_FOUND)
        self.assertIn("this is 'org/news@1'", caught.exception.details())

    def test_a_snapshot_of_the_hubs_cache_has_the_models_name_and_not_its_hash(self):
        with tempfile.TemporaryDirectory() as folder:
            snapshot = pathlib.Path(folder) / "models--org--news" / "snapshots" / ("0123456789" * 4)
            snapshot.mkdir(parents=True)
            for file in pathlib.Path(MODEL).iterdir():
                (snapshot / file.name).symlink_to(file.resolve())
            self.assertEqual(self.names(self.served(model=str(snapshot))), (["news"], "news"))

    def test_a_place_for_one_model_or_another_gives_no_name(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "model").symlink_to(pathlib.Path(MODEL).resolve())
            place = pathlib.Path(folder) / "models"
            place.mkdir()
            for file in pathlib.Path(MODEL).iterdir():
                (place / file.name).symlink_to(file.resolve())
            self.assertEqual(self.names(self.served(model=str(place))), (["t5"], "t5"))


if __name__ == "__main__":
    harness.main()
