"""Makes precis_client/v1/summarization_pb2.py and its types from proto/ while a wheel is built."""

import pathlib
import shutil
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py

PROTO = pathlib.Path(__file__).resolve().parent.parent.parent / "proto"
SOURCE = "precis/v1/summarization.proto"

# The code that protoc writes runs with few versions of protobuf: those near its own. So protoc gives the
# descriptor alone, which has no version, and protobuf's public interface makes classes of it at import.
MODULE = '''"""The messages of precis.v1, generated from proto/ when this package was built."""

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper
from google.rpc import status_pb2  # the proto imports it, so it is registered first

assert status_pb2
_pool = descriptor_pool.Default()
_pool.AddSerializedFile({descriptor!r})
DESCRIPTOR = _pool.FindFileByName({name!r})
for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = enum_type_wrapper.EnumTypeWrapper(_enum)
    globals().update((_value.name, _value.number) for _value in _enum.values)
'''


def run_protoc(*arguments):
    from grpc_tools import protoc  # of [build-system] requires

    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *arguments, SOURCE]) != 0:
        raise SystemExit(f"protoc failed on {SOURCE}")


class BuildWithProto(build_py):
    """Only our own proto is generated. What it imports of google.rpc is at run time that of
    googleapis-common-protos: two packages that register the same messages cannot be imported together.
    """

    def run(self):
        super().run()
        if not (PROTO / SOURCE).is_file():
            raise SystemExit(f"{PROTO / SOURCE} is missing: build from a checkout of Precis")
        target = pathlib.Path(self.build_lib) / "precis_client" / "v1"
        target.mkdir(parents=True, exist_ok=True)
        (target / "__init__.py").write_text('"""The messages of precis.v1, generated."""\n')
        with tempfile.TemporaryDirectory() as name:
            out = pathlib.Path(name)
            run_protoc(f"--descriptor_set_out={out / 'set'}", f"--pyi_out={out}")
            module = MODULE.format(descriptor=only_file(out / "set"), name=SOURCE)
            (target / "summarization_pb2.py").write_text(module)
            shutil.copy(out / "precis/v1/summarization_pb2.pyi", target)


def only_file(path):
    """The descriptor of the one file in a FileDescriptorSet."""
    from google.protobuf import descriptor_pb2  # grpc_tools needs it, too

    (file,) = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file
    return file.SerializeToString()


setup(cmdclass={"build_py": BuildWithProto})
