"""Every query of the dashboard and every alert, against a real Prometheus that scraped a real load.

Starts precis-server with the demo model and Prometheus on 127.0.0.1, sends a bounded load with a real
client, then asks what Grafana would ask. The answers are kept in build/deploy/panels.json, of which
deploy/grafana/render makes docs/images/dashboard.png.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

sys.path.insert(0, "tests/server/client")
import harness  # noqa: E402
from harness import Server, api, free_port  # noqa: E402

DASHBOARD = "deploy/grafana/dashboards/precis.json"
# Nothing is refused, stuck or internal in a good run; a histogram of what never happened is empty.
MAY_BE_EMPTY = {"PrecisInternalErrors", "PrecisRefusesRequests"}
LOAD_SECONDS = 25
WORDS = pathlib.Path("docs/server.md").read_text(encoding="utf-8").split()


def tool(name):
    return shutil.which(name) or shutil.which(name, path="build/tools/usr/bin")


class Prometheus:
    """A real one, with our configuration but for what it scrapes and how often."""

    def __init__(self, target):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="precis_prometheus_"))
        text = pathlib.Path("deploy/prometheus/prometheus.yaml").read_text(encoding="utf-8")
        text = re.sub(r"_interval: \d+s", "_interval: 1s", text)
        text = text.replace("server:9464", target)
        assert target in text
        (self.folder / "prometheus.yaml").write_text(text, encoding="utf-8")
        shutil.copy("deploy/prometheus/alerts.yaml", self.folder)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = open(self.folder / "log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [tool("prometheus"), f"--config.file={self.folder}/prometheus.yaml",
             f"--storage.tsdb.path={self.folder}/data", "--log.level=warn",
             f"--web.listen-address={self.url.removeprefix('http://')}"],
            stdout=self.log, stderr=self.log)

    def ask(self, path, **query):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as reply:
                answer = json.load(reply)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        assert answer["status"] == "success" and not answer.get("warnings"), answer
        return answer["data"]

    def wait_for(self, expression):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if self.ask("query", query=expression)["result"]:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError((self.folder / "log").read_text(encoding="utf-8"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.log.close()
        shutil.rmtree(self.folder)


def document(number):
    begin = number * 37 % (len(WORDS) - 200)
    return " ".join(WORDS[begin:begin + 60 + number % 120])


def load(server, seconds):
    """Four clients in turns of all kinds of requests; returns how many were answered."""
    end = time.monotonic() + seconds

    def client(number):
        done = 0
        while time.monotonic() < end and done < 2000:
            options = api.GenerationOptions(num_beams=1 + number % 2 * 3, max_new_tokens=40)
            text = document((done + number * 11) % 25)
            if done % 3 == 0:
                server.stub.Summarize(api.SummarizeRequest(text=text, options=options), timeout=60)
            elif done % 3 == 1:
                list(server.stub.StreamSummarize(
                    api.StreamSummarizeRequest(text=text, options=options), timeout=60))
            else:
                many = [api.SummarizeManyRequest(id=str(i), text=document(done + i), options=options)
                        for i in range(4)]
                list(server.stub.SummarizeMany(iter(many), timeout=60))
            done += 1
        return done

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return sum(pool.map(client, range(4)))


def queries():
    """(panel, legend, expression as Grafana would send it)."""
    board = json.loads(pathlib.Path(DASHBOARD).read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5s")
            assert "$" not in text, text
            yield panel, target["legendFormat"], text


def is_number(text):
    return text not in ("NaN", "+Inf", "-Inf")


class DashboardTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--max-queue", "64")
        cls.addClassCleanup(cls.server.stop)
        cls.prometheus = Prometheus(cls.server.metrics_address)
        cls.addClassCleanup(cls.prometheus.stop)
        cls.prometheus.wait_for("precis_healthy == 1")
        cls.begin = time.time()
        cls.answered = load(cls.server, LOAD_SECONDS)
        cls.end = time.time()

    def test_every_panel_has_values_from_a_real_load(self):
        self.assertGreater(self.answered, 8)
        kept = []
        for panel, legend, expression in queries():
            with self.subTest(panel=panel["title"], expression=expression):
                lines = self.prometheus.ask("query_range", query=expression, start=self.begin,
                                            end=self.end, step=1)["result"]
                values = [value for line in lines for _, value in line["values"]]
                self.assertTrue([value for value in values if is_number(value)])
                kept.append({"panel": panel["title"], "type": panel["type"], "legend": legend,
                             "unit": panel["fieldConfig"]["defaults"]["unit"],
                             "stacked": "normal" in json.dumps(panel["fieldConfig"]),
                             "lines": lines})
        self.assertEqual(len(kept), len(list(queries())))
        os.makedirs("build/deploy", exist_ok=True)
        with open("build/deploy/panels.json", "w", encoding="utf-8") as file:
            json.dump({"begin": self.begin, "queries": kept}, file)

    def test_what_the_panels_say_is_what_happened(self):
        def value(expression):
            (line,) = self.prometheus.ask("query", query=expression, time=self.end)["result"]
            return float(line["value"][1])
        self.assertEqual(value("sum(precis_healthy)"), 1)
        self.assertGreater(value('precis_document_uses_total{use="ready"}'), 0)
        total = value("precis_pool_page_bytes * ignoring(kind) sum without (kind) (precis_pool_pages)")
        self.assertEqual(total, 64 << 20)  # --pool-bytes of the harness

    def test_every_alert_is_loaded_and_none_fires(self):
        (group,) = self.prometheus.ask("rules", type="alert")["groups"]
        self.assertGreaterEqual(len(group["rules"]), 9)
        for rule in group["rules"]:
            with self.subTest(rule["name"]):
                self.assertEqual((rule["health"], rule["state"]), ("ok", "inactive"), rule)
                # What it compares must be there: an alert on a name that nobody exports is silent.
                left = re.split(r" [<>=]=? [\d.]+", rule["query"])[0]
                found = self.prometheus.ask("query", query=left, time=self.end)["result"]
                if rule["name"] not in MAY_BE_EMPTY:
                    self.assertTrue(found, left)
                for name in re.findall(r"\bprecis_\w+", rule["query"]):
                    self.assertTrue(self.prometheus.ask("query", query=name)["result"], name)


if __name__ == "__main__":
    if tool("prometheus") is None:
        print("prometheus is missing (scripts/setup --with=deploy)")
        sys.exit(77)
    harness.main()
