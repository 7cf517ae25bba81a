"""sbom.py SBOM INSTALLED VERSION TARGET: the SBOM is valid CycloneDX and lists what the image has.

INSTALLED has dpkg's name, a tab and the version a line; TARGET (cpu, cuda) is the Dockerfile's. Exits
with 1, having said why.
"""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

COMPILED_IN = {"libboost1.74-dev", "libcli11-dev", "libhwy-dev", "nlohmann-json3-dev"}
CUDA_COMPILED_IN = {"nvidia-cuda-cccl", "nvidia-cuda-crt", "nvidia-cuda-runtime", "nvidia-nvvm"}
EXPECTED = {"cpu": {"compiled in": COMPILED_IN, "copied": set()},
            "cuda": {"compiled in": COMPILED_IN | CUDA_COMPILED_IN, "copied": {"nvidia-cublas"}}}


def faults(text, installed, version, target):
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if error is not None:
        yield f"not valid: {error}"
    sbom = json.loads(text)
    if sbom["metadata"]["component"]["version"] != version:
        yield f"the version is not {version}: {sbom['metadata']}"
    by_how = {"installed": set(), "compiled in": set(), "copied": set()}
    for component in sbom["components"]:
        by_how[component["properties"][0]["value"]].add((component["name"], component["version"]))
    if by_how["installed"] != installed:
        yield f"not as installed: {by_how['installed'] ^ installed}"
    for how, names in EXPECTED[target].items():
        if {name for name, _ in by_how[how]} != names:
            yield f"{how}: {by_how[how]}"


def main():
    path, installed, version, target = sys.argv[1:]
    with open(installed, encoding="utf-8") as file:
        packages = {tuple(line.rstrip("\n").split("\t")) for line in file}
    with open(path, encoding="utf-8") as file:
        found = list(faults(file.read(), packages, version, target))
    if not packages:
        found.append("no package is installed")
    print("\n".join(found) or f"{len(packages)} packages")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
