"""Our restatement of the protocol agrees with what tritonclient was generated from: every message,
field number, type, enum value and method that we have is theirs."""

import subprocess
import tempfile
import unittest

import triton as shared
from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2

FILES = ["inference/model_config.proto", "inference/open_inference.proto"]


def messages(prefix, listed):
    for message in listed:
        yield prefix + message.name, message
        yield from messages(prefix + message.name + ".", message.nested_type)


def facts(field):
    return (field.number, field.type, field.label, field.type_name,
            field.HasField("oneof_index"))


class SchemaTest(unittest.TestCase):
    def setUp(self):
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run(["protoc", "-Iproto", f"--descriptor_set_out={file.name}"] + FILES,
                           check=True)
            self.ours = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
        self.theirs = []
        for module in (model_config_pb2, service_pb2):
            proto = descriptor_pb2.FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(proto)
            self.theirs.append(proto)

    def test_fields_have_their_numbers_and_types(self):
        theirs = {name: message for file in self.theirs
                  for name, message in messages("", file.message_type)}
        count = 0
        for file in self.ours:
            self.assertEqual(file.package, "inference")
            for name, message in messages("", file.message_type):
                known = {field.name: facts(field) for field in theirs[name].field}
                for field in message.field:
                    self.assertEqual(facts(field), known.get(field.name), f"{name}.{field.name}")
                    count += 1
        self.assertGreater(count, 100)

    def test_enum_values_and_methods_are_theirs(self):
        values = {value.name: value.number for file in self.theirs for enum in file.enum_type
                  for value in enum.value}
        methods = {method.name: (method.input_type, method.output_type, method.client_streaming,
                                 method.server_streaming)
                   for file in self.theirs for service in file.service
                   for method in service.method}
        for file in self.ours:
            for enum in file.enum_type:
                for value in enum.value:
                    self.assertEqual(value.number, values.get(value.name), value.name)
            for service in file.service:
                self.assertEqual(service.name, "GRPCInferenceService")
                for method in service.method:
                    self.assertEqual(
                        (method.input_type, method.output_type, method.client_streaming,
                         method.server_streaming), methods.get(method.name), method.name)


if __name__ == "__main__":
    shared.main()
