"""What callers pass: options as dataclass and keywords, addresses, metadata; and what a mistake is called."""

import asyncio
import dataclasses
import inspect
import re
import unittest

import precis_client
from precis_client import (AsyncClient, Client, Document, Drafting, EarlyStopping, Keepalive, LongDocumentPolicy,
                           OptionKeywords, Options, Priority, Tls)
from precis_client import addresses
from precis_client.connection import Connection
from precis_client.options import merged
from precis_client.v1 import summarization_pb2 as pb

FIELDS = pb.GenerationOptions.DESCRIPTOR.fields
ENUMS = {"early_stopping": EarlyStopping, "drafting": Drafting, "priority": Priority,
         "long_document_policy": LongDocumentPolicy}


def sample(field):
    """A value for an option that is not its default."""
    if field.name in ENUMS:
        return ENUMS[field.name](2)
    special = {"stop": ("a", "b"), "suppressed_token_ids": (3, 4), "bad_words": ((1, 2), (3,))}
    kinds = {field.TYPE_FLOAT: 0.5, field.TYPE_STRING: "a", field.TYPE_UINT32: 7, field.TYPE_UINT64: 1 << 40}
    return special[field.name] if field.name in special else kinds[field.type]


class OptionsTest(unittest.TestCase):
    def test_none_of_the_protos_is_forgotten(self):
        names = [field.name for field in FIELDS]
        self.assertEqual([field.name for field in dataclasses.fields(Options)], names)
        self.assertEqual(sorted(OptionKeywords.__annotations__), sorted(names))
        types = {field.name: field.type for field in dataclasses.fields(Options)}
        for name in names:
            said = OptionKeywords.__annotations__[name]
            self.assertEqual(getattr(said, "__forward_arg__", said), types[name], name)

    def test_each_is_described_and_nothing_else(self):
        described = re.findall(r"^ +([a-z_]+): [A-Z\"]", inspect.getdoc(Options), re.M)
        self.assertEqual(sorted(described), sorted(field.name for field in FIELDS))
        for method in ("summarize", "stream", "stream_text", "summarize_many"):
            for kind in (Client, AsyncClient):
                self.assertTrue(getattr(kind, method).__doc__, method)
        for name in inspect.signature(Client.summarize).parameters:
            if name not in ("self", "keywords"):
                self.assertRegex(Client.summarize.__doc__, rf"\n *{name}: ")
        for name in inspect.signature(Client).parameters:
            self.assertRegex(Client.__doc__, rf"\n *{name}: ")

    def test_each_goes_to_the_wire_and_back(self):
        for field in FIELDS:
            options = Options(**{field.name: sample(field)})
            message = options.to_proto()
            self.assertEqual([one.name for one, _ in message.ListFields()], [field.name])
            again = pb.GenerationOptions.FromString(message.SerializeToString())
            self.assertEqual(Options.from_proto(again), options)
            for other in (Options(), Options(seed=1)):
                self.assertEqual(merged(other, {field.name: sample(field)}),
                                 dataclasses.replace(other, **{field.name: sample(field)}))

    def test_empty_is_not_absent(self):
        message = Options(max_new_tokens=0, temperature=0, prefix="", suppressed_token_ids=[],
                          bad_words=[]).to_proto()
        self.assertEqual([field.name for field, _ in message.ListFields()],
                         ["max_new_tokens", "temperature", "prefix", "suppressed_token_ids", "bad_words"])
        self.assertEqual(Options().to_proto(), pb.GenerationOptions())

    def test_names_stand_for_the_values_of_enums(self):
        for name, kind in ENUMS.items():
            proto = pb.GenerationOptions.DESCRIPTOR.fields_by_name[name].enum_type
            prefix = proto.values[0].name[:-len("UNSPECIFIED")]
            ours = {prefix + one.name: one.value for one in kind}
            self.assertEqual(ours, {one.name: one.number for one in proto.values[1:]})
            for one in kind:
                for said in (one, one.name.lower(), one.name, one.name.replace("_", "-"), one.value):
                    made = getattr(Options(**{name: said}), name)
                    self.assertIs(made, one)
                    self.assertEqual(getattr(Options(**{name: said}).to_proto(), name), one.value)
            with self.assertRaisesRegex(ValueError, f'^{name}: "nevr" is none of "'):
                Options(**{name: "nevr"})
        # As of generate(). In Python True == 1, which is the number of FALSE.
        self.assertIs(Options(early_stopping=True).early_stopping, EarlyStopping.TRUE)
        self.assertIs(Options(early_stopping=False).early_stopping, EarlyStopping.FALSE)
        with self.assertRaisesRegex(TypeError, "^priority: "):
            Options(priority=True)
        self.assertEqual(Options.from_proto(Options(priority=99).to_proto()).priority, 99)  # a newer server's

    def test_a_wrong_value_is_named_where_it_is_given(self):
        for field in FIELDS:
            wrongs = [object()]
            if field.name not in ENUMS and not isinstance(sample(field), str):
                wrongs += ["four", True]
            if field.type == field.TYPE_UINT32:
                wrongs += [-1, 1 << 32, 1.5]
            for wrong in wrongs:
                with self.assertRaisesRegex((TypeError, ValueError), rf"^{field.name}(\[\d+\])*: "):
                    Options(**{field.name: wrong})
        for wrong in ({"stop": ["a", 5]}, {"bad_words": [[1], 2]}, {"bad_words": [["a"]]},
                      {"suppressed_token_ids": [1, -1]}, {"prefix": "\ud800"}):
            with self.assertRaisesRegex((TypeError, ValueError), rf"^{next(iter(wrong))}(\[\d+\])*: "):
                Options(**wrong)

    def test_an_unknown_keyword_is_named_and_the_nearest_suggested(self):
        with self.assertRaisesRegex(TypeError, "^num_beems: .*is num_beams meant"):
            merged(None, {"num_beems": 4})
        with self.assertRaisesRegex(TypeError, "^options: "):
            merged({"num_beams": 4}, {})


class MessagesTest(unittest.TestCase):
    def test_nothing_that_the_server_says_is_forgotten(self):
        for kind in (precis_client.Summary, precis_client.SummarySequence, precis_client.TokenLogProbability,
                     precis_client.Timings, precis_client.Model, precis_client.Accepted, precis_client.Progress,
                     precis_client.Delta, precis_client.Finished):
            message = getattr(pb, kind.__name__).DESCRIPTOR
            self.assertEqual(sorted(field.name for field in dataclasses.fields(kind)),
                             sorted(field.name for field in message.fields), kind)
        for kind in (precis_client.FinishReason, precis_client.PrefixSource, precis_client.ProgressStage):
            names = dict(getattr(pb, kind.__name__).items())
            self.assertEqual(sorted(names.values()), sorted(kind))
            for one in kind:
                self.assertTrue(any(name.endswith("_" + one.name) for name in names), one)


class CallTest(unittest.TestCase):
    """Mistakes in calls: none of them needs a server."""

    def test_a_mistake_names_its_argument(self):
        wrongs = [
            ("text", {}), ("text", {"text": 5}), ("text", {"text": b"bytes"}), ("text", {"text": "\ud800"}),
            ("token_ids", {"text": "a", "token_ids": [1]}), ("token_ids", {"token_ids": "abc"}),
            (r"token_ids\[1\]", {"token_ids": [1, -1]}), (r"token_ids\[0\]", {"token_ids": [True]}),
            ("options", {"text": "a", "options": {"num_beams": 1}}),
            ("model", {"text": "a", "model": None}), ("adapter", {"text": "a", "adapter": 3}),
            ("timeout", {"text": "a", "timeout": "5"}), ("timeout", {"text": "a", "timeout": 0}),
            ("request_id", {"text": "a", "request_id": 5}),
            (r"request_id\['x-request-id'\]", {"text": "a", "request_id": "a\nb"}),
            ("metadata", {"text": "a", "metadata": "traceparent"}),
            (r"metadata\['a b'\]", {"text": "a", "metadata": {"a b": "c"}}),
            ("num_beams", {"text": "a", "num_beams": "four"}),
            ("max_tokens", {"text": "a", "max_tokens": 4}),
        ]
        with Client() as client:
            for name, wrong in wrongs:
                for method in (client.summarize, client.stream, client.stream_text):
                    with self.assertRaisesRegex((TypeError, ValueError), f"^{name}: "):
                        method(**wrong)
            self.check_bulk(client)

        async def run():
            async with AsyncClient() as client:
                for name, wrong in wrongs:
                    with self.assertRaisesRegex((TypeError, ValueError), f"^{name}: "):
                        await client.summarize(**wrong)
                    with self.assertRaisesRegex((TypeError, ValueError), f"^{name}: "):
                        client.stream(**wrong)
                self.check_bulk(client)
        asyncio.run(run())

    def check_bulk(self, client):
        for name, documents, rest in (
                ("documents", "one document", {}), ("documents", 5, {}), ("documents", Document("a"), {}),
                ("outstanding", ["a"], {"outstanding": 0}), ("outstanding", ["a"], {"outstanding": "8"}),
                ("timeout", ["a"], {"timeout": None}), ("num_beams", ["a"], {"num_beams": -1}),
                ("metadata", ["a"], {"metadata": 5})):
            with self.assertRaisesRegex((TypeError, ValueError), f"^{name}: "):
                client.summarize_many(documents, **rest)

    def test_a_mistake_in_a_client_is_found_when_it_is_made(self):
        wrongs = [
            ("addresses", {"addresses": []}), ("addresses", {"addresses": [5]}),
            ("addresses", {"addresses": "http://127.0.0.1:50051"}), ("addresses", {"addresses": "127.0.0.1"}),
            ("addresses", {"addresses": "example.org"}), ("timeout", {"timeout": "1"}), ("timeout", {"timeout": 0}),
            ("tls", {"tls": True}), ("retry", {"retry": 5}), ("keepalive", {"keepalive": 30}),
            ("token", {"token": 5}), ("max_message_bytes", {"max_message_bytes": "64M"}),
            (r"metadata\['grpc-timeout'\]", {"metadata": {"grpc-timeout": "1S"}}),
            (r"metadata\['x-bin'\]", {"metadata": {"x-bin": "a"}}),
            (r"metadata\['x'\]", {"metadata": {"x": b"a"}}), (r"metadata\['x'\]", {"metadata": [("x", "\u00e9")]}),
            ("metadata", {"metadata": ["traceparent"]}),
            ("metadata", {"metadata": {"authorization": "Bearer x"}, "token": "y"}),
            ("metadata", {"metadata": {"authorization": "Bearer x"}, "addresses": "10.0.0.1:1"}),
        ]
        for name, wrong in wrongs:
            for kind in (Client, AsyncClient):
                with self.assertRaisesRegex((TypeError, ValueError), f"^{name}: "):
                    kind(**wrong)
        with self.assertRaisesRegex(TypeError, "^keepalive.time: "):
            Keepalive(time="30")
        with self.assertRaisesRegex(FileNotFoundError, "tls: root_certificates"):
            Client(tls=Tls(root_certificates="/nowhere/ca.pem"))


def connection(given, token=None, tls=None, allow=False):
    return Connection.make(given, tls, token, None, None, 1 << 20, allow)


def asks_proxy(given):
    return ("grpc.enable_http_proxy", 0) not in connection(given).channel_options()


class ConnectionTest(unittest.TestCase):
    def test_addresses_become_grpcs_names(self):
        self.assertEqual(connection("host:1").target(), "host:1")
        self.assertEqual(connection(["1.2.3.4:5", "1.2.3.5:5"]).target(), "ipv4:1.2.3.4:5,1.2.3.5:5")
        self.assertEqual(connection(["[::1]:5", "[::2]:5"]).target(), "ipv6:[::1]:5,[::2]:5")
        for wrong in ([], [""], ["a:1", "b:1"], ["1.2.3.4:5", "[::1]:5"]):
            with self.assertRaisesRegex(ValueError, "^addresses: "):
                connection(wrong)
        connection("example.org", tls=Tls())  # TLS's own port

    def test_what_is_on_this_machine_is_known(self):
        for local in ("127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "LocalHost.:1",
                      "a.localhost:1", "unix:/tmp/x", "unix:x", "unix-abstract:x", "dns:localhost:1",
                      "dns:///localhost:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1"):
            self.assertTrue(addresses.is_local(local), local)
            self.assertFalse(asks_proxy(local), local)
        for far in ("10.0.0.1:1", "[2001:db8::1]:1", "host:1", "localhost.example.org:1", "dns:///host:1",
                    "127.0.0.1.example.org:1"):
            self.assertFalse(addresses.is_local(far), far)
            self.assertTrue(asks_proxy(far), far)
        self.assertFalse(asks_proxy(["10.0.0.1:1", "10.0.0.2:1"]))

    def test_a_token_goes_nowhere_in_plain_text_unless_it_is_meant(self):
        for local in ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/tmp/x"):
            connection(local, token="t")
        with self.assertRaisesRegex(ValueError, "^token: .*TLS"):
            connection("10.0.0.1:1", token="t")
        connection("10.0.0.1:1", token="t", allow=True)
        connection("10.0.0.1:1", token="t", tls=Tls())

    def test_certificate_and_key_go_together(self):
        with self.assertRaisesRegex(ValueError, "together"):
            Tls(certificate=b"x").credentials()

    def test_there_is_one_of_each_name_in_the_package(self):
        self.assertEqual(sorted(precis_client.__all__), list(precis_client.__all__))
        for name in precis_client.__all__:
            self.assertTrue(hasattr(precis_client, name), name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
