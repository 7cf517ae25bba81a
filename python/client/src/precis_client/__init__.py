"""Client of Precis, an inference server for encoder-decoder summarizers.

    from precis_client import Client
    with Client("127.0.0.1:50051") as client:
        print(client.summarize("A long document ...", max_new_tokens=60).text)
        for piece in client.stream_text("A long document ...", num_beams=1):
            print(piece, end="", flush=True)
"""

from .aio import AsyncClient
from .aio_stream import AsyncSummaryStream
from .bulk import Document, DocumentResult
from .client import Client
from .connection import Keepalive, Tls
from .errors import (
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    InvalidRequest,
    NotFound,
    Overloaded,
    PrecisError,
    Unauthenticated,
    Unavailable,
)
from .messages import (
    Accepted,
    Delta,
    Event,
    Finished,
    FinishReason,
    Model,
    PrefixSource,
    Progress,
    ProgressStage,
    Summary,
    SummarySequence,
    Timings,
    TokenLogProbability,
)
from .options import (
    Drafting,
    EarlyStopping,
    LongDocumentPolicy,
    OptionKeywords,
    Options,
    Priority,
)
from .retry import RetryPolicy
from .stream import SummaryStream

__version__ = "0.1.0"
__all__ = [
    "Accepted",
    "AsyncClient",
    "AsyncSummaryStream",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "Delta",
    "Document",
    "DocumentResult",
    "Drafting",
    "EarlyStopping",
    "Event",
    "FieldViolation",
    "FinishReason",
    "Finished",
    "InvalidRequest",
    "Keepalive",
    "LongDocumentPolicy",
    "Model",
    "NotFound",
    "OptionKeywords",
    "Options",
    "Overloaded",
    "PrecisError",
    "PrefixSource",
    "Priority",
    "Progress",
    "ProgressStage",
    "RetryPolicy",
    "Summary",
    "SummarySequence",
    "SummaryStream",
    "Timings",
    "Tls",
    "TokenLogProbability",
    "Unauthenticated",
    "Unavailable",
]
