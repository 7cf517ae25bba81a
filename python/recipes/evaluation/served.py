"""Summaries of a running precis-server, many at a time over one SummarizeMany stream."""
import importlib
import sys
import tempfile
from pathlib import Path

import grpc
import grpc_tools
from google.protobuf import json_format
from grpc_tools import protoc
from tqdm import tqdm

PROTO = Path(__file__).resolve().parents[3] / "proto"
PATIENCE_S = 30
FILES = ("precis/v1/summarization.proto", "google/rpc/status.proto")


def stubs():
    """The messages and the client, generated from proto/ into a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as place:
        known = Path(grpc_tools.__file__).parent / "_proto"  # google/protobuf
        failed = protoc.main(["protoc", f"-I{PROTO}", f"-I{known}", f"--python_out={place}",
                              f"--grpc_python_out={place}", *FILES])
        if failed:
            sys.exit(f"{PROTO}: protoc cannot read it")
        sys.path.insert(0, place)
        try:
            return (importlib.import_module("precis.v1.summarization_pb2"),
                    importlib.import_module("precis.v1.summarization_pb2_grpc"))
        finally:
            sys.path.remove(place)


def options_message(messages, options):
    """GenerationOptions of a dictionary of its fields; what is no field or no value of it is an error."""
    try:
        return json_format.ParseDict(options, messages.GenerationOptions())
    except json_format.ParseError as e:
        sys.exit(f"--option: {e}")


def summarize(address, documents, options):
    """Summaries in the order of the documents; a document that fails ends it with the server's reason."""
    messages, services = stubs()
    chosen = options_message(messages, options)
    summaries = [None] * len(documents)
    requests = (messages.SummarizeManyRequest(id=str(i), text=d, options=chosen) for i, d in enumerate(documents))
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
        except grpc.FutureTimeoutError:
            sys.exit(f"{address}: no server answers there, and it is no file or folder")
        try:
            replies = services.SummarizationServiceStub(channel).SummarizeMany(requests)
            for reply in tqdm(replies, total=len(documents), desc=address, unit="text"):
                if reply.WhichOneof("result") == "error":
                    sys.exit(f"{address}: document {int(reply.id) + 1}: {reply.error.message}")
                summaries[int(reply.id)] = reply.summary.sequences[0].text
        except grpc.RpcError as e:
            sys.exit(f"{address}: {e.code().name}: {e.details()}")
    missing = sum(s is None for s in summaries)
    return summaries if not missing else sys.exit(f"{address}: {missing} documents were not answered")
