"""Builds the wheel of python/client and tests it where nothing else is installed: once with the oldest
libraries that it says it works with, once with the newest.

The wheel must also be one that pip installs for Python 3.13.

Run by the Python of build/tools/clients, without the network. Exit code 77 when something that
scripts/setup --with=clients downloads is missing.
"""

import argparse
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
WHEELS = ROOT / "build/tools/wheels"
# A program with five mistakes that its types must tell.
WRONG = '''from precis_client import Client, Options
client = Client("127.0.0.1:1")
client.summarize(text=5)
Options(num_beams="four")
client.summarize("text").txt
client.summarize("text", num_beems=4)
client.stream_text("text", early_stopping="nevr")
'''
TYPED = '''from precis_client import AsyncClient, Client, Options
async def run() -> list[str]:
    async with AsyncClient(["127.0.0.1:1", "127.0.0.1:2"], token=lambda: "t") as client:
        stream = client.stream("text", Options(num_beams=1))
        async for event in stream:
            print(event)
        async for piece in client.stream_text("text", num_beams=4, early_stopping="never", metadata={"a": "b"}):
            print(piece.upper())
        return [one.unwrap().text async for one in client.summarize_many(["a"])]
with Client() as sync:
    for piece in sync.stream_text("text", priority="high"):
        print(piece.upper())
    print(sync.summarize("text").sequences[0].token_ids, sync.list_models()[0].name)
'''


def run(*command, **rest):
    print("+", *command, flush=True)
    return subprocess.run([str(word) for word in command], check=True, **rest)


def missing():
    modules = [name for name in ("grpc_tools", "mypy", "setuptools", "wheel")
               if importlib.util.find_spec(name) is None]
    sets = [name for name in ("oldest", "newest", "python3.13") if not (WHEELS / name).is_dir()]
    return modules + [f"build/tools/wheels/{name}" for name in sets]


def build_wheel(folder):
    # setuptools has no pkg_resources since 82, which pip takes for a build.
    assert importlib.util.find_spec("pkg_resources") is None
    # A copy: setuptools leaves its own folders beside the sources.
    shutil.copytree(ROOT / "proto", folder / "proto")
    shutil.copytree(ROOT / "python/client", folder / "python/client",
                    ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-build-isolation", "--no-deps",
        "-w", folder / "dist", folder / "python/client")
    wheels = list((folder / "dist").glob("*.whl"))
    assert len(wheels) == 1 and wheels[0].name.endswith("-py3-none-any.whl"), wheels
    return wheels[0]


def check_contents(wheel, folder):
    """The generated code is inside, and nothing that another package has as well."""
    unpacked = folder / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(unpacked)
    assert "precis_client/v1/summarization_pb2.py" in names and "precis_client/py.typed" in names
    foreign = [n for n in names if not n.startswith(("precis_client/", "precis_client-"))]
    assert not foreign, foreign
    return unpacked


def check_types(unpacked, folder):
    def mypy(*arguments):
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "mypy"),
                   "--config-file", str(ROOT / "python/client/pyproject.toml"), *arguments]
        said = subprocess.run(command, env={**os.environ, "MYPYPATH": str(unpacked)}, text=True,
                              capture_output=True, cwd=folder)
        print(said.stdout + said.stderr, flush=True)
        return said.stdout
    assert "Success" in mypy("-p", "precis_client")
    (folder / "typed.py").write_text(TYPED)
    assert "Success" in mypy("typed.py")
    (folder / "wrong.py").write_text(WRONG)
    said = mypy("wrong.py")
    for line in (3, 4, 5, 6, 7):
        assert f"wrong.py:{line}: error" in said, said


def check_newer_python(wheel, folder):
    """pip finds the wheel and all that it needs for a Python that need not be on this machine."""
    target = folder / "python3.13"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", WHEELS / "python3.13",
        "--python-version", "3.13", "--only-binary", ":all:", "--target", target, wheel)
    assert (target / "precis_client").is_dir() and list(target.glob("grpc/_cython/*cpython-313*"))


def test_with(name, wheel, folder, environment):
    venv = folder / name
    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin/python"
    run(python, "-m", "pip", "install", "-q", "--no-index", "--find-links", WHEELS / name,
        "--require-virtualenv", "-r", HERE / f"{name}.txt", wheel)
    run(python, "-m", "pip", "check")
    tests = ["logic_test", "turns_test", "arguments_test", "calls_test", "overload_test", "use_test",
             "served_test", "examples_test"]
    run(python, "-m", "unittest", "-v", *tests, cwd=ROOT,
        env={**environment, "PYTHONPATH": f"{HERE}:{HERE.parent}"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--backend", default="cpu")
    arguments = parser.parse_args()
    lacking = missing()
    if lacking:
        print(f"skipped: {', '.join(lacking)}: scripts/setup --with=clients downloads them")
        return 77
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment.update(PRECIS_SERVER=arguments.server, TESTED_DEVICE=arguments.backend,
                       PYTHONDONTWRITEBYTECODE="1", GRPC_VERBOSITY="NONE")
    with tempfile.TemporaryDirectory(prefix="precis_wheel_") as name:
        folder = pathlib.Path(name)
        wheel = build_wheel(folder)
        check_newer_python(wheel, folder)
        check_types(check_contents(wheel, folder), folder)
        for libraries in ("oldest", "newest"):
            test_with(libraries, wheel, folder, environment)
    return 0


if __name__ == "__main__":
    sys.exit(main())
