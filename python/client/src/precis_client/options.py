"""What a caller may set for one request: precis.v1.GenerationOptions as a dataclass."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any, Optional

from .v1 import summarization_pb2 as pb


class EarlyStopping(enum.IntEnum):
    """When a beam search ends."""

    FALSE = 1
    TRUE = 2
    NEVER = 3


class Drafting(enum.IntEnum):
    """Tokens guessed and verified several at a time."""

    OFF = 1
    PROMPT_LOOKUP = 2


class Priority(enum.IntEnum):
    """Who goes first when requests wait."""

    LOW = 1
    NORMAL = 2
    HIGH = 3


class LongDocumentPolicy(enum.IntEnum):
    """What becomes of a document that is too long."""

    REFUSE = 1
    TRUNCATE = 2
    WINDOWS = 3


_ENUMS: dict[str, type[enum.IntEnum]] = {
    "early_stopping": EarlyStopping,
    "drafting": Drafting,
    "priority": Priority,
    "long_document_policy": LongDocumentPolicy,
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Names and meaning are the proto's, whose comments explain them. None: the checkpoint's default;
    0 is a value. Of the lists of tokens, an empty one means none, whatever the checkpoint says.
    """

    max_new_tokens: Optional[int] = None
    min_new_tokens: Optional[int] = None
    num_beams: Optional[int] = None
    num_return_sequences: Optional[int] = None
    length_penalty: Optional[float] = None
    early_stopping: Optional[EarlyStopping] = None
    no_repeat_ngram_size: Optional[int] = None
    repetition_penalty: Optional[float] = None
    temperature: Optional[float] = None
    top_k: Optional[int] = None
    top_p: Optional[float] = None
    seed: Optional[int] = None
    stop: Sequence[str] = ()
    prefix: Optional[str] = None
    drafting: Optional[Drafting] = None
    priority: Optional[Priority] = None
    long_document_policy: Optional[LongDocumentPolicy] = None
    log_probabilities: Optional[int] = None
    forced_bos_token_id: Optional[int] = None
    forced_eos_token_id: Optional[int] = None
    suppressed_token_ids: Optional[Sequence[int]] = None
    bad_words: Optional[Sequence[Sequence[int]]] = None
    noise_seed: Optional[int] = None

    def to_proto(self) -> pb.GenerationOptions:
        """Raises ValueError or TypeError that names the field whose value does not fit its type."""
        message = pb.GenerationOptions()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            try:
                _set(message, field.name, value)
            except (TypeError, ValueError) as error:
                raise type(error)(f"options.{field.name}: {error}") from None
        return message

    @classmethod
    def from_proto(cls, message: pb.GenerationOptions) -> Options:
        values: dict[str, Any] = {"stop": tuple(message.stop)}
        for field in dataclasses.fields(cls):
            name = field.name
            if name == "stop" or not message.HasField(name):
                continue
            value = getattr(message, name)
            if name in _ENUMS:
                values[name] = _enum(_ENUMS[name], value)
            elif name == "suppressed_token_ids":
                values[name] = tuple(value.ids)
            elif name == "bad_words":
                values[name] = tuple(tuple(word.ids) for word in value.words)
            else:
                values[name] = value
        return cls(**values)


def _enum(kind: type[enum.IntEnum], value: int) -> int:
    """A number that this release has no name for stays a number."""
    try:
        return kind(value)
    except ValueError:
        return value


def _set(message: pb.GenerationOptions, name: str, value: Any) -> None:
    if value is None:
        return
    if name == "stop":
        if isinstance(value, str):
            raise TypeError("is a list of strings, not a string")
        message.stop.extend(value)
    elif name == "suppressed_token_ids":
        message.suppressed_token_ids.SetInParent()
        message.suppressed_token_ids.ids.extend(value)
    elif name == "bad_words":
        message.bad_words.SetInParent()
        for word in value:
            message.bad_words.words.add().ids.extend(word)
    else:
        setattr(message, name, value)
