"""The rules of docs/design/code_style.md that a program can check, over the whole tree.

Run with a root as argument it prints one line a violation and exits with 1 if there was any.
layout_test.py plants one violation of each rule and sees it found.
"""

import pathlib
import re
import sys

# Folders that are layers, and what each may include of ours. "x/*" means headers that lie directly
# in x, "x/**" all below it. A folder may include itself, unless it stands in OWN_RULES.
LAYERS = {
    "common": [],
    "kernels": ["common/**"],
    "engine": ["common/**", "kernels/*"],
    "tools": ["common/**", "kernels/*", "engine/**"],
    "server": ["common/**", "engine/*", "engine/api/*", "engine/request/*", "engine/text/unicode/*", "GENERATED"],
    "cli": ["common/**", "engine/api/*", "tools/**", "GENERATED"],
}
# Deeper folders with stricter rules: the scheduler knows ids only.
OWN_RULES = {"engine/sched": ["common/**", "engine/sched/**"]}
# One folder a device; what lies directly in kernels/ chooses among them.
DEVICES = ["kernels/ref", "kernels/cpu", "kernels/cuda", "kernels/cuda_none"]
# May include anything, and nothing of the layers may include them.
FREE = ["tests", "bench"]
# First folders of the headers that proto/ generates.
GENERATED = ["precis", "google/rpc", "grpc/health", "inference"]
# Libraries that only some folders may know.
LIBRARIES = {
    "prometheus/": ["server"],
    "boost/": ["server"],
    "openssl/": ["server"],
    "grpc/": ["server", "cli"],
    "grpcpp/": ["server", "cli"],
    "google/protobuf/": ["server", "cli"],
    "zlib.h": ["server"],
    "CLI/": ["cli", "server"],
    "cuda_runtime.h": ["kernels/cuda"],
    "cublasLt.h": ["kernels/cuda"],
    "oneapi/dnnl/": ["kernels/cpu"],
    "hwy/": ["kernels/cpu"],
    "sentencepiece": ["engine/text"],
}
SCHED_MAY_NOT = ["<thread>", "<mutex>", "<condition_variable>", "<atomic>", "common/mutex.h"]

COMMON = ["status", "check", "mutex", "clock", "bounded_queue", "descriptor", "log", "log_sink", "math", "nearest", "streams"]
SCRIPTS = ["demo", "setup", "test"]
MAX_LINES = 600
MAX_SOURCES = 25  # of one folder

CODE = [".cc", ".h", ".cu", ".cuh"]
SIZED = CODE + [".proto", ".py", ".cmake"]
SKIPPED = {".git", "build", ".cache", "__pycache__"}
# Places outside the repository; spelled in pieces, so that this file is not found itself.
OUTSIDE = re.compile(
    "|".join([r"\.\./" + "shared", "/" + "work/", r"\bshared" + r"/(?:fixtures|models|design|tools)"])
)
INCLUDE = re.compile(r'^\s*#\s*include\s+(<[^>]+>|"[^"]+")')
LINK = re.compile(r"\]\(([^)\s]+)\)")


def files(root):
    """All files below root as paths relative to it, without build outputs."""
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not SKIPPED.intersection(relative.parts):
            yield relative


def text_of(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def matches(included, pattern):
    if pattern == "GENERATED":
        return any(included.startswith(first + "/") for first in GENERATED)
    folder, _, depth = pattern.rpartition("/")
    if depth == "**":
        return included.startswith(folder + "/")
    return included.startswith(folder + "/") and "/" not in included[len(folder) + 1 :]


def below(path, folder):
    return path == folder or path.startswith(folder + "/")


def include_fault(place, included, ours):
    """Why a file in the layer `place` may not include `included`, or None. `ours`: our folders."""
    layer = place.split("/")[0]
    name = included[1:-1]
    generated = matches(name, "GENERATED")
    for library, allowed in LIBRARIES.items():
        if name.startswith(library) and not generated:
            if not any(below(place, folder) for folder in allowed):
                return f"only {', '.join(allowed)} may know {library.rstrip('/')}"
    if below(place, "engine/sched") and any(word in included for word in SCHED_MAY_NOT):
        return "scheduling knows no thread and no lock"
    if included[0] == "<":
        return None
    if name.startswith(".") or "/" not in name:
        return "includes are written from the root"
    if generated:
        return None if "GENERATED" in LAYERS[layer] else "knows no wire"
    if name.split("/")[0] not in ours:
        return None  # a library's
    for strict, allowed in OWN_RULES.items():
        if below(place, strict):
            return None if any(matches(name, p) for p in allowed) else f"not allowed in {strict}"
    if layer == "kernels" and name.startswith("kernels/"):
        device = next((d for d in DEVICES if below(place, d)), None)
        if device and not (matches(name, "kernels/*") or below(name, device)):
            return "one device's kernels do not include another's"
    allowed = LAYERS[layer] + [layer + "/**"]
    return None if any(matches(name, p) for p in allowed) else f"not allowed in {layer}/"


def check_includes(root):
    ours = {path.name for path in root.iterdir() if path.is_dir()}
    for path in files(root):
        if path.suffix not in CODE or path.parts[0] not in LAYERS:
            continue
        for number, line in enumerate((text_of(root / path) or "").splitlines(), 1):
            found = INCLUDE.match(line)
            fault = found and include_fault(path.parent.as_posix(), found.group(1), ours)
            if fault:
                yield f"{path}:{number}: {found.group(1)}: {fault}"


def folder_includes(root):
    """Of each folder of the layers: the folders that it includes from, with one include of each."""
    out = {}
    for path in files(root):
        if path.suffix not in CODE or path.parts[0] not in LAYERS:
            continue
        folder = out.setdefault(path.parent.as_posix(), {})
        for number, line in enumerate((text_of(root / path) or "").splitlines(), 1):
            found = INCLUDE.match(line)
            name = found.group(1)[1:-1] if found else ""
            to = name.rpartition("/")[0]
            if to != path.parent.as_posix() and (root / name).is_file():
                folder.setdefault(to, f"{path}:{number}: {found.group(1)}")
    return out


def check_folders(root):
    """No folder needs itself by way of others, and none is too large to look through."""
    graph = folder_includes(root)
    ended = set()

    def walk(folder, way):
        if folder in way:
            around = way[way.index(folder) :] + [folder]
            yield f"{graph[around[0]][around[1]]}: closes a circle of folders: {' -> '.join(around)}"
            return
        if folder in ended or folder not in graph:
            return
        for to in sorted(graph[folder]):
            yield from walk(to, way + [folder])
        ended.add(folder)

    for folder in sorted(graph):
        yield from walk(folder, [])
        sources = [p for p in (root / folder).iterdir() if p.suffix in CODE]
        if len(sources) > MAX_SOURCES:
            yield f"{folder}/: {len(sources)} sources, split past {MAX_SOURCES}"


def check_closed_lists(root):
    for path in files(root):
        if path.parts[0] == "common" and path.name != "CMakeLists.txt" and path.stem not in COMMON:
            yield f"{path}: common/ is exactly {', '.join(COMMON)}"
        if path.parts[0] == "scripts" and path.as_posix() not in [f"scripts/{s}" for s in SCRIPTS]:
            yield f"{path}: scripts/ is exactly {', '.join(SCRIPTS)}"


def check_texts(root):
    for path in files(root):
        text = text_of(root / path)
        if text is None:
            continue
        lines = text.splitlines()
        if path.suffix in SIZED and len(lines) > MAX_LINES:
            yield f"{path}: {len(lines)} lines, split past {MAX_LINES}"
        if path.suffix in [".h", ".cuh"]:
            # Highway compiles its "-inl.h" once per target, under a guard of their own.
            if "#pragma once" not in lines and not path.name.endswith("-inl.h"):
                yield f"{path}: no #pragma once"
            if not lines or not lines[0].startswith("//"):
                yield f"{path}: a header begins with what it is"
        # Documents of a model and recorded tokens may say anything.
        if path.suffix not in [".json", ".jsonl"]:
            for number, line in enumerate(lines, 1):
                if OUTSIDE.search(line):
                    yield f"{path}:{number}: refers to a path outside the repository"


def check_links(root):
    for path in files(root):
        if path.suffix != ".md":
            continue
        for target in LINK.findall(text_of(root / path) or ""):
            place = target.split("#")[0]
            if place and "://" not in place and not place.startswith("mailto:"):
                if not (root / path.parent / place).exists():
                    yield f"{path}: link to {target}, which does not exist"


def violations(root):
    root = pathlib.Path(root)
    for check in (check_includes, check_folders, check_closed_lists, check_texts, check_links):
        yield from check(root)


def main():
    found = list(violations(sys.argv[1]))
    for line in found:
        print(line)
    print(f"{len(found)} violations of the layout")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
