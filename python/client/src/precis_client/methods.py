"""The methods on the wire, for grpc's and grpc.aio's channels alike."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health_pb2

from .connection import SERVICE
from .v1 import summarization_pb2 as pb

SUMMARIZE = f"/{SERVICE}/Summarize"
STREAM = f"/{SERVICE}/StreamSummarize"
MANY = f"/{SERVICE}/SummarizeMany"
LIST_MODELS = f"/{SERVICE}/ListModels"
HEALTH = "/grpc.health.v1.Health/Check"

_TABLE: dict[str, tuple[str, Any, Any]] = {
    SUMMARIZE: ("unary_unary", pb.SummarizeRequest, pb.SummarizeResponse),
    STREAM: ("unary_stream", pb.StreamSummarizeRequest, pb.StreamSummarizeResponse),
    MANY: ("stream_stream", pb.SummarizeManyRequest, pb.SummarizeManyResponse),
    LIST_MODELS: ("unary_unary", pb.ListModelsRequest, pb.ListModelsResponse),
    HEALTH: ("unary_unary", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse),
}


def bind(channel: Any) -> dict[str, Any]:
    """Name -> what calls it."""
    return {
        name: getattr(channel, kind)(
            name, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )
        for name, (kind, request, response) in _TABLE.items()
    }
