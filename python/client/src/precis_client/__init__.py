"""Client of Precis, an inference server for T5 summarizers.

    from precis_client import Client, Options
    with Client("127.0.0.1:50051") as client:
        print(client.summarize("A long document ...", Options(max_new_tokens=60)).text)
"""

from .aio import AsyncClient, AsyncSummaryStream
from .bulk import Document, DocumentResult
from .client import Client, SummaryStream
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
from .options import Drafting, EarlyStopping, LongDocumentPolicy, Options, Priority
from .retry import RetryPolicy

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
