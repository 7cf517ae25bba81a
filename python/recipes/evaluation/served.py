"""Summaries of a running precis-server, many at a time over one SummarizeMany stream."""
import importlib
import sys
import tempfile
from pathlib import Path

import grpc
import grpc_tools
from grpc_tools import protoc
from tqdm import tqdm

PROTO = Path(__file__).resolve().parents[3] / "proto"
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
    """GenerationOptions of a dictionary of its fields; a field it does not have is an error."""
    made = messages.GenerationOptions()
    for key, value in options.items():
        try:
            setattr(made, key, value)
        except (AttributeError, TypeError, ValueError) as e:
            sys.exit(f"--option {key}={value}: {e}")
    return made


def summarize(address, documents, options):
    """Summaries in the order of the documents; a document that fails ends it with the server's reason."""
    messages, services = stubs()
    chosen = options_message(messages, options)
    summaries = [None] * len(documents)
    requests = (messages.SummarizeManyRequest(id=str(i), text=d, options=chosen) for i, d in enumerate(documents))
    with grpc.insecure_channel(address) as channel:
        stub = services.SummarizationServiceStub(channel)
        try:
            replies = stub.SummarizeMany(requests, wait_for_ready=True)
            for reply in tqdm(replies, total=len(documents), desc=address, unit="text"):
                if reply.WhichOneof("result") == "error":
                    sys.exit(f"{address}: document {int(reply.id) + 1}: {reply.error.message}")
                summaries[int(reply.id)] = reply.summary.sequences[0].text
        except grpc.RpcError as e:
            sys.exit(f"{address}: {e.code().name}: {e.details()}")
    missing = sum(s is None for s in summaries)
    return summaries if not missing else sys.exit(f"{address}: {missing} documents were not answered")
