"""A running precis-server on the demo model and free ports of 127.0.0.1, for the tests below this
folder. Needs no package.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

TEXT = "Precis serves summaries over gRPC. It reads a document and writes a shorter one."


class Server:
    """Ends with stop(); its log is shown when it does not end as it should. start() again keeps the ports."""

    def __init__(self, program, backend, *flags):
        self.folder = tempfile.mkdtemp(prefix="precis_server_")
        self._command = [program, "--model", "models/demo", "--device", backend, "--threads", "1",
                         "--pool-bytes", "64M", *flags]
        self.port = self.metrics_port = 0
        self.start()

    def start(self):
        port_file = os.path.join(self.folder, "ports")
        if os.path.exists(port_file):
            os.remove(port_file)
        self._log = open(os.path.join(self.folder, "log"), "a", encoding="utf-8")
        self.process = subprocess.Popen(
            self._command + ["--port-file", port_file, "--listen", f"127.0.0.1:{self.port}",
                             "--metrics-listen", f"127.0.0.1:{self.metrics_port}"],
            stderr=self._log, env={**os.environ, "GOMP_SPINCOUNT": "3000"})
        end = time.monotonic() + 120
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError("the server did not start:\n" + self.read_log())
            time.sleep(0.02)
        with open(port_file, encoding="utf-8") as file:
            ports = dict(line.strip().split("=") for line in file)
        self.port, self.metrics_port = int(ports["grpc"]), int(ports["metrics"])
        self.address = f"127.0.0.1:{self.port}"

    def read_log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as file:
            return file.read()

    def metric(self, name):
        """Its value; 0 for a series that nothing was counted in."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as reply:
            for line in reply.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.rsplit(" ", 1)[1])
        return 0.0

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def end(self, timeout=60):
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._log.close()

    def stop_and_read_log(self):
        """SIGTERM, and its whole log."""
        self.end()
        return self.read_log()

    def stop(self):
        """end(), and nothing of it is left. May be called twice."""
        try:
            code = self.end()
        finally:
            if self.process.poll() not in (0, -signal.SIGKILL) and os.path.exists(self.folder):
                print(f"precis-server ended with {self.process.poll()}:\n" + self.read_log())
            shutil.rmtree(self.folder, ignore_errors=True)
        return code
