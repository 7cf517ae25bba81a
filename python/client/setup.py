"""Makes precis_client/v1/summarization_pb2.py from proto/ while a wheel is built."""

import pathlib
import shutil
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py

PROTO = pathlib.Path(__file__).resolve().parent.parent.parent / "proto"
SOURCE = "precis/v1/summarization.proto"


class BuildWithProto(build_py):
    """Only our own proto is generated. What it imports of google.rpc is at run time that of
    googleapis-common-protos: two packages that register the same messages cannot be imported together.
    """

    def run(self):
        super().run()
        from grpc_tools import protoc  # of [build-system] requires

        if not (PROTO / SOURCE).is_file():
            raise SystemExit(f"{PROTO / SOURCE} is missing: build from a checkout of Precis")
        target = pathlib.Path(self.build_lib) / "precis_client" / "v1"
        target.mkdir(parents=True, exist_ok=True)
        (target / "__init__.py").write_text('"""The messages of precis.v1, generated."""\n')
        well_known = pathlib.Path(protoc.__file__).parent / "_proto"
        with tempfile.TemporaryDirectory() as out:
            arguments = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}"]
            if protoc.main(["protoc", *arguments, SOURCE]) != 0:
                raise SystemExit(f"protoc failed on {SOURCE}")
            for suffix in ("py", "pyi"):
                shutil.copy(pathlib.Path(out) / f"precis/v1/summarization_pb2.{suffix}", target)


setup(cmdclass={"build_py": BuildWithProto})
