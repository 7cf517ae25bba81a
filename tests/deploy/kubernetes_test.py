"""The chart under Helm's own code, and what it renders under the schemas of Kubernetes.

Custom resources (Prometheus operator, KServe) have no schema here: of those the parts that our own
objects must agree with are checked. Runs with build/tools/deploy/bin/python, without a cluster.
"""

import importlib.machinery
import importlib.util
import pathlib
import re
import subprocess
import sys
import unittest

import helm_python.chart
import kubernetes_validate
import yaml

VERSIONS = ["1.27.0", "1.30.0", kubernetes_validate.latest_version()]
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ServingRuntime", "InferenceService"}
CHART = "deploy/helm/precis"


def load_module(path):
    loader = importlib.machinery.SourceFileLoader("render", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("render", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


render = load_module("deploy/helm/render").render


# What deploy/ has for users, beside the chart.
GPU = yaml.safe_load(pathlib.Path("deploy/helm/gpu.yaml").read_text("utf-8"))


def values(name):
    return yaml.safe_load(pathlib.Path(f"tests/deploy/values/{name}.yaml").read_text("utf-8"))


def resources(text):
    return [document for document in yaml.safe_load_all(text) if document]


def by_kind(text):
    found = {}
    for resource in resources(text):
        found.setdefault(resource["kind"], []).append(resource)
    return found


def pod_of(text):
    return by_kind(text)["Deployment"][0]["spec"]["template"]


def container_of(text):
    (container,) = pod_of(text)["spec"]["containers"]
    return container


def environment_of(text):
    return {entry["name"]: entry["value"] for entry in container_of(text)["env"]}


class ChartTest(unittest.TestCase):
    sets = {"default": {}, "small": values("small"), "everything": values("everything"),
            "gpu": GPU}

    def test_helm_lints_it_strictly(self):
        for name, chosen in self.sets.items():
            result = helm_python.chart.lint(CHART, chosen, strict=True)
            self.assertEqual(result["total_charts_linted"], 1)
            worse = [m for m in result["messages"] if m["severity"] > 1]  # 1: "icon is recommended"
            self.assertEqual((worse, result["errors"]), ([], []), name)

    def test_kubernetes_takes_what_it_renders(self):
        for name, chosen in self.sets.items():
            checked = 0
            for resource in resources(render(chosen)):
                if resource["kind"] in CUSTOM:
                    continue
                for version in VERSIONS:
                    with self.subTest(name, kind=resource["kind"], version=version):
                        kubernetes_validate.validate(resource, version, strict=True)
                checked += 1
            self.assertGreaterEqual(checked, 3)

    def test_the_schema_check_is_not_blind(self):
        (deployment,) = by_kind(render())["Deployment"]
        deployment["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)

    def test_unknown_and_wrong_values_are_refused(self):
        for wrong in ({"replica": 2}, {"options": {"Max_Batch": 1}}, {"replicas": 0},
                      {"model": {"path": "relative"}}):
            with self.assertRaises(Exception, msg=wrong), \
                    helm_python.chart.Chart.load(CHART) as chart:
                chart.validate_schema(wrong)
        with self.assertRaises(Exception):
            render({"model": {"volume": {"emptyDir": {}}}})

    def test_plain_manifests_are_what_it_renders_by_default(self):
        plain = pathlib.Path("deploy/kubernetes/precis.yaml").read_text(encoding="utf-8")
        self.assertEqual(plain, render(), "deploy/helm/render > deploy/kubernetes/precis.yaml")

    def test_versions_are_those_of_the_project(self):
        project = pathlib.Path("CMakeLists.txt").read_text(encoding="utf-8")
        version = re.search(r"project\(precis VERSION (\S+)", project).group(1)
        chart = yaml.safe_load(pathlib.Path(CHART, "Chart.yaml").read_text("utf-8"))
        self.assertEqual((chart["version"], chart["appVersion"]), (version, version))


class DeploymentTest(unittest.TestCase):
    def test_pods_fulfil_the_restricted_standard(self):
        for chosen in ({}, values("everything")):
            pod = pod_of(render(chosen))["spec"]
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            container = container_of(render(chosen))["securityContext"]
            self.assertEqual(container, {"allowPrivilegeEscalation": False,
                                         "readOnlyRootFilesystem": True,
                                         "capabilities": {"drop": ["ALL"]}})
            self.assertFalse(pod.get("hostNetwork") or pod.get("hostPID") or pod.get("hostIPC"))
            self.assertFalse(pod["automountServiceAccountToken"])
            allowed = {"persistentVolumeClaim", "secret"}
            for volume in pod.get("volumes", []):
                self.assertLessEqual(set(volume) - {"name"}, allowed)

    def test_the_user_is_that_of_the_image(self):
        dockerfile = pathlib.Path("Dockerfile").read_text(encoding="utf-8")
        context = pod_of(render())["spec"]["securityContext"]
        self.assertIn(f"USER {context['runAsUser']}:{context['runAsGroup']}", dockerfile)

    def test_probes_ask_the_health_port_of_the_image(self):
        dockerfile = pathlib.Path("Dockerfile").read_text(encoding="utf-8")
        port = int(re.search(r"PRECIS_HEALTH_LISTEN=0\.0\.0\.0:(\d+)", dockerfile).group(1))
        container = container_of(render())
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(container[probe]["grpc"], {"port": port}, probe)
        start = container["startupProbe"]
        self.assertGreaterEqual(start["periodSeconds"] * start["failureThreshold"], 300)
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        self.assertEqual(ports["health"], port)
        for name, number in ports.items():
            variable = {"grpc": "PRECIS_LISTEN"}.get(name, f"PRECIS_{name.upper()}_LISTEN")
            self.assertIn(f"{variable}=0.0.0.0:{number}", dockerfile)

    def test_a_pod_may_drain_before_it_is_killed(self):
        for chosen in ({}, values("small"), values("everything")):
            text = render(chosen)
            drain = int(environment_of(text)["PRECIS_DRAIN_TIMEOUT"].removesuffix("s"))
            sleep = int(container_of(text)["lifecycle"]["preStop"]["exec"]["command"][1])
            self.assertEqual(drain, chosen.get("drainSeconds", 30))
            self.assertGreater(pod_of(text)["spec"]["terminationGracePeriodSeconds"], drain + sleep)

    def test_selectors_find_the_pods(self):
        found = by_kind(render(values("everything")))
        labels = pod_of(render(values("everything")))["metadata"]["labels"]
        selectors = [found["Deployment"][0]["spec"]["selector"]["matchLabels"],
                     found["PodDisruptionBudget"][0]["spec"]["selector"]["matchLabels"],
                     found["NetworkPolicy"][0]["spec"]["podSelector"]["matchLabels"],
                     found["ServiceMonitor"][0]["spec"]["selector"]["matchLabels"]]
        selectors += [service["spec"]["selector"] for service in found["Service"]]
        for selector in selectors:
            self.assertTrue(selector)
            self.assertLessEqual(selector.items(), labels.items())
        # A monitor selects services by their own labels.
        self.assertLessEqual(selectors[3].items(), found["Service"][0]["metadata"]["labels"].items())

    def test_one_service_balances_connections_and_one_is_for_clients_that_balance(self):
        services = {s["metadata"]["name"]: s["spec"] for s in by_kind(render())["Service"]}
        self.assertEqual(services["precis-pods"]["clusterIP"], "None")
        self.assertNotIn("clusterIP", services["precis"])
        ports = {port["name"]: port for port in services["precis"]["ports"]}
        self.assertEqual(ports["grpc"]["appProtocol"], "kubernetes.io/h2c")
        secured = by_kind(render(values("everything")))["Service"][0]["spec"]["ports"][0]
        self.assertNotIn("appProtocol", secured)

    def test_options_and_secrets_become_variables(self):
        environment = environment_of(render(values("everything")))
        self.assertEqual(environment["PRECIS_MAX_BATCH"], "128")
        self.assertEqual(environment["PRECIS_KV_DTYPE"], "int8")
        self.assertEqual(environment["PRECIS_INSECURE"], "off")
        self.assertEqual(environment["PRECIS_SERVED_MODEL_NAME"], "news")
        pod = pod_of(render(values("everything")))["spec"]
        mounts = {m["name"]: m["mountPath"] for m in container_of(
            render(values("everything")))["volumeMounts"]}
        for variable, volume in (("TLS_CERT", "tls"), ("TLS_KEY", "tls"), ("TLS_CLIENT_CA", "tls"),
                                 ("AUTH_TOKENS", "auth"), ("MODEL", "model")):
            self.assertTrue(environment[f"PRECIS_{variable}"].startswith(mounts[volume]), variable)
        for volume in pod["volumes"]:
            if "secret" in volume:
                self.assertEqual(volume["secret"]["defaultMode"] & 0o007, 0, "not for everybody")
        self.assertEqual(set(environment_of(render())), {"PRECIS_DRAIN_TIMEOUT"})

    def test_a_pod_with_a_gpu_asks_for_one_and_serves_on_nothing_else(self):
        container = container_of(render(GPU))
        self.assertEqual(container["resources"]["limits"]["nvidia.com/gpu"], 1)
        self.assertEqual(environment_of(render(GPU))["PRECIS_DEVICE"], "cuda")
        self.assertEqual(container["image"], container_of(render())["image"] + "-cuda")
        self.assertNotIn("nvidia.com/gpu", container_of(render())["resources"]["limits"])
        self.assertEqual(pod_of(render(values("everything")))["spec"]["runtimeClassName"], "nvidia")

    def test_the_autoscaler_has_the_number_of_pods_for_itself(self):
        found = by_kind(render(values("everything")))
        self.assertNotIn("replicas", found["Deployment"][0]["spec"])
        (metric,) = found["HorizontalPodAutoscaler"][0]["spec"]["metrics"]
        name = metric["pods"]["metric"]["name"]
        self.assertIn(f"| `{name}` | gauge |", pathlib.Path("docs/metrics.md").read_text("utf-8"))
        self.assertIn(name, pathlib.Path("docs/deploy.md").read_text("utf-8"))


class CustomResourcesTest(unittest.TestCase):
    def test_monitor_and_rule_agree_with_prometheus_files(self):
        found = by_kind(render(values("everything")))
        (rule,), (monitor,) = found["PrometheusRule"], found["ServiceMonitor"]
        alerts = yaml.safe_load(pathlib.Path("deploy/prometheus/alerts.yaml").read_text("utf-8"))
        self.assertEqual(rule["spec"], alerts)
        # jobLabel names a label of the service whose value is the alerts' job.
        service = found["Service"][0]
        self.assertEqual(service["metadata"]["labels"][monitor["spec"]["jobLabel"]], "precis")
        self.assertIn(monitor["spec"]["endpoints"][0]["port"],
                      [port["name"] for port in service["spec"]["ports"]])

    def test_kserve_runs_the_container_that_the_deployment_runs(self):
        text = pathlib.Path("deploy/kubernetes/kserve.yaml").read_text(encoding="utf-8")
        runtime, service = resources(text)
        self.assertEqual([runtime["kind"], service["kind"]], ["ServingRuntime", "InferenceService"])
        (container,) = runtime["spec"]["containers"]
        ours = container_of(render())
        self.assertEqual(container["image"], ours["image"])
        for key in ("startupProbe", "resources"):
            self.assertEqual(container[key], ours[key])
        # KServe's clients ask for the service by its name, not for its mount.
        self.assertEqual(container["args"], ["--served-model-name={{.Name}}"])
        # The container itself is Kubernetes' own type, so its schema can be asked.
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
               "spec": {"containers": [container]}}
        kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)
        model = service["spec"]["predictor"]["model"]
        self.assertEqual(model["runtime"], runtime["metadata"]["name"])
        self.assertIn(model["modelFormat"]["name"],
                      [f["name"] for f in runtime["spec"]["supportedModelFormats"]])


class CommandTest(unittest.TestCase):
    def test_render_prints_what_it_renders(self):
        done = subprocess.run([sys.executable, "deploy/helm/render",
                               "tests/deploy/values/small.yaml"], capture_output=True, text=True,
                              check=True)
        self.assertEqual(done.stdout, render(values("small")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
