"""What the server says, as dataclasses with the proto's names; its comments explain them."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Optional, Union

from .options import Options
from .values import known_or_number
from .v1 import summarization_pb2 as pb


class FinishReason(enum.IntEnum):
    """Why a summary ends where it ends."""

    UNSPECIFIED = 0
    END_OF_SEQUENCE = 1
    LENGTH = 2
    STOP_STRING = 3


class PrefixSource(enum.IntEnum):
    """Who said the prefix."""

    UNSPECIFIED = 0
    NONE = 1
    CHECKPOINT = 2
    REQUEST = 3


class ProgressStage(enum.IntEnum):
    """Where a request is."""

    UNSPECIFIED = 0
    ENCODING = 1
    DECODING = 2


@dataclasses.dataclass(frozen=True)
class TokenLogProbability:
    token_id: int
    log_probability: float
    alternatives: tuple[TokenLogProbability, ...] = ()

    @classmethod
    def from_proto(cls, message: pb.TokenLogProbability) -> TokenLogProbability:
        others = tuple(cls.from_proto(other) for other in message.alternatives)
        return cls(message.token_id, message.log_probability, others)


@dataclasses.dataclass(frozen=True)
class SummarySequence:
    text: str
    finish_reason: Union[FinishReason, int]
    score: Optional[float]  # of beams
    generated_tokens: int
    token_ids: tuple[int, ...]
    log_probabilities: tuple[TokenLogProbability, ...]

    @classmethod
    def from_proto(cls, message: pb.SummarySequence) -> SummarySequence:
        return cls(
            text=message.text,
            finish_reason=known_or_number(FinishReason, message.finish_reason),
            score=message.score if message.HasField("score") else None,
            generated_tokens=message.generated_tokens,
            token_ids=tuple(message.token_ids),
            log_probabilities=tuple(
                TokenLogProbability.from_proto(token) for token in message.log_probabilities
            ),
        )


@dataclasses.dataclass(frozen=True)
class Timings:
    queue_seconds: float
    first_token_seconds: float
    total_seconds: float


@dataclasses.dataclass(frozen=True)
class Summary:
    sequences: tuple[SummarySequence, ...]
    effective_options: Options
    prefix_source: Union[PrefixSource, int]
    seed_used: Optional[int]
    model: str
    adapter: str
    model_fingerprint: str
    numerics: str
    source_tokens: int
    source_tokens_dropped: int
    windows: int
    generated_tokens: int
    cache_hit: bool
    warnings: tuple[str, ...]
    timings: Timings
    request_id: str

    @property
    def text(self) -> str:
        """Of the first sequence, the best one."""
        return self.sequences[0].text

    @classmethod
    def from_proto(cls, message: pb.Summary) -> Summary:
        times = message.timings
        return cls(
            sequences=tuple(SummarySequence.from_proto(one) for one in message.sequences),
            effective_options=Options.from_proto(message.effective_options),
            prefix_source=known_or_number(PrefixSource, message.prefix_source),
            seed_used=message.seed_used if message.HasField("seed_used") else None,
            timings=Timings(times.queue_seconds, times.first_token_seconds, times.total_seconds),
            warnings=tuple(message.warnings),
            **_plain(message, cls),
        )


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    fingerprint: str
    architecture: str
    attention_variant: str
    numerics: str
    adapters: tuple[str, ...]
    vocab_size: int
    max_source_tokens: int
    max_new_tokens: int
    trained_source_tokens: int
    default_options: Options
    default_prefix_source: Union[PrefixSource, int]

    @classmethod
    def from_proto(cls, message: pb.Model) -> Model:
        return cls(
            adapters=tuple(message.adapters),
            default_options=Options.from_proto(message.default_options),
            default_prefix_source=known_or_number(PrefixSource, message.default_prefix_source),
            **_plain(message, cls),
        )


def _plain(message: Any, kind: Any) -> dict[str, Any]:
    """The fields whose value is taken as it is."""
    names = [f.name for f in dataclasses.fields(kind) if f.type in ("str", "int", "bool")]
    return {name: getattr(message, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Accepted:
    request_id: str
    source_tokens: int


@dataclasses.dataclass(frozen=True)
class Progress:
    stage: Union[ProgressStage, int]
    generated_tokens: int
    windows_done: int
    windows_total: int


@dataclasses.dataclass(frozen=True)
class Delta:
    sequence_index: int
    text: str


@dataclasses.dataclass(frozen=True)
class Finished:
    summary: Summary


Event = Union[Accepted, Progress, Delta, Finished]


def event_from_proto(message: pb.StreamSummarizeResponse) -> Optional[Event]:
    """None for an event that this release does not know."""
    kind = message.WhichOneof("event")
    if kind == "accepted":
        return Accepted(message.accepted.request_id, message.accepted.source_tokens)
    if kind == "progress":
        said = message.progress
        stage = known_or_number(ProgressStage, said.stage)
        return Progress(stage, said.generated_tokens, said.windows_done, said.windows_total)
    if kind == "delta":
        return Delta(message.delta.sequence_index, message.delta.text)
    if kind == "finished":
        return Finished(Summary.from_proto(message.finished.summary))
    return None
