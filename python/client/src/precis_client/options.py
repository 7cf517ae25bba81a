"""What a caller may set for one request: precis.v1.GenerationOptions as a dataclass, and as keywords."""

from __future__ import annotations

import dataclasses
import difflib
import enum
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Optional, TypedDict, Union

from . import values
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


EarlyStoppingValue = Union[EarlyStopping, Literal["false", "true", "never"], bool]
DraftingValue = Union[Drafting, Literal["off", "prompt_lookup"]]
PriorityValue = Union[Priority, Literal["low", "normal", "high"]]
LongDocumentPolicyValue = Union[LongDocumentPolicy, Literal["refuse", "truncate", "windows"]]

_ENUMS: dict[str, type[enum.IntEnum]] = {
    "early_stopping": EarlyStopping,
    "drafting": Drafting,
    "priority": Priority,
    "long_document_policy": LongDocumentPolicy,
}


class OptionKeywords(TypedDict, total=False):
    """The options as keywords of Client.summarize and its like. Options describes each of them."""

    max_new_tokens: Optional[int]
    min_new_tokens: Optional[int]
    num_beams: Optional[int]
    num_return_sequences: Optional[int]
    length_penalty: Optional[float]
    early_stopping: Optional[EarlyStoppingValue]
    no_repeat_ngram_size: Optional[int]
    repetition_penalty: Optional[float]
    temperature: Optional[float]
    top_k: Optional[int]
    top_p: Optional[float]
    seed: Optional[int]
    stop: Sequence[str]
    prefix: Optional[str]
    drafting: Optional[DraftingValue]
    priority: Optional[PriorityValue]
    long_document_policy: Optional[LongDocumentPolicyValue]
    log_probabilities: Optional[int]
    forced_bos_token_id: Optional[int]
    forced_eos_token_id: Optional[int]
    suppressed_token_ids: Optional[Sequence[int]]
    bad_words: Optional[Sequence[Sequence[int]]]
    noise_seed: Optional[int]


@dataclasses.dataclass(frozen=True)
class Options:
    """How to summarize. Names and meaning are those of generate() in Hugging Face transformers.

    An option that is None takes the checkpoint's default; 0 is a value. `Client.list_models()` shows the
    defaults, and `Summary.effective_options` what was used. A wrong value raises TypeError or ValueError
    that begins with the option's name. Where an option has names for its values, a string does, too.

    Length:
        max_new_tokens: Most tokens to generate, 1 or more.
        min_new_tokens: The summary does not end before it has this many tokens.
        stop: Strings. The summary ends before the first of them that comes; none is part of the text.
        long_document_policy: What becomes of a document that is too long. "refuse": an error that gives
            both lengths. "truncate": its end is left out, and `Summary.source_tokens_dropped` says how
            much. "windows": overlapping parts are summarized one by one, then their summaries.

    Search:
        num_beams: Width of the beam search. 1: greedy, or sampling.
        length_penalty: A beam's score is divided by its length to the power of this. Higher: longer.
        early_stopping: When a beam search ends. False or "false": when a better summary has become
            unlikely. True or "true": as soon as num_beams summaries are complete. "never": only when no
            better one is possible.
        num_return_sequences: Summaries to return. Of beams the best ones, at most num_beams; when
            sampling, this many samples.

    Sampling (num_beams 1, temperature above 0):
        temperature: The scores are divided by it. 0: no sampling, the best token is taken.
        top_k: Sample among this many best tokens. 0: among all.
        top_p: Sample among the fewest tokens that have this much probability together. 1: among all.
        seed: Seed of the samples. None: the server draws one; `Summary.seed_used` says which.

    What may be written:
        no_repeat_ngram_size: No run of this many tokens occurs twice. 0: off.
        repetition_penalty: Divides the scores of tokens that are there already. 1: off.
        suppressed_token_ids: Ids of tokens that are never generated. Empty: none, whatever the
            checkpoint says.
        bad_words: Lists of token ids, each a sequence that is never generated. Empty: none.
        forced_bos_token_id: The first token.
        forced_eos_token_id: The last token where the summary reaches max_new_tokens.
        prefix: Text put before the document, as "summarize: ". Empty: none.

    The rest:
        priority: Who goes first when requests wait: "low", "normal" or "high".
        drafting: "prompt_lookup": guess tokens from the document and verify several at a time. "off".
            The text does not change.
        log_probabilities: Return the log-probability of each token, and of this many likeliest others.
        noise_seed: Seed of the noise of models that subtract noise in attention (pgqa); others do not
            use it.
    """

    max_new_tokens: Optional[int] = None
    min_new_tokens: Optional[int] = None
    num_beams: Optional[int] = None
    num_return_sequences: Optional[int] = None
    length_penalty: Optional[float] = None
    early_stopping: Optional[EarlyStoppingValue] = None
    no_repeat_ngram_size: Optional[int] = None
    repetition_penalty: Optional[float] = None
    temperature: Optional[float] = None
    top_k: Optional[int] = None
    top_p: Optional[float] = None
    seed: Optional[int] = None
    stop: Sequence[str] = ()
    prefix: Optional[str] = None
    drafting: Optional[DraftingValue] = None
    priority: Optional[PriorityValue] = None
    long_document_policy: Optional[LongDocumentPolicyValue] = None
    log_probabilities: Optional[int] = None
    forced_bos_token_id: Optional[int] = None
    forced_eos_token_id: Optional[int] = None
    suppressed_token_ids: Optional[Sequence[int]] = None
    bad_words: Optional[Sequence[Sequence[int]]] = None
    noise_seed: Optional[int] = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, _checked(field.name, value))

    def to_proto(self) -> pb.GenerationOptions:
        message = pb.GenerationOptions()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name == "stop":
                message.stop.extend(value)
            elif field.name == "suppressed_token_ids":
                message.suppressed_token_ids.SetInParent()
                message.suppressed_token_ids.ids.extend(value)
            elif field.name == "bad_words":
                message.bad_words.SetInParent()
                for word in value:
                    message.bad_words.words.add().ids.extend(word)
            else:
                setattr(message, field.name, value)
        return message

    @classmethod
    def from_proto(cls, message: pb.GenerationOptions) -> Options:
        found: dict[str, Any] = {"stop": tuple(message.stop)}
        for field in dataclasses.fields(cls):
            name = field.name
            if name == "stop" or not message.HasField(name):
                continue
            value = getattr(message, name)
            if name == "suppressed_token_ids":
                value = tuple(value.ids)
            elif name == "bad_words":
                value = tuple(tuple(word.ids) for word in value.words)
            found[name] = value
        return cls(**found)


_NAMES = tuple(field.name for field in dataclasses.fields(Options))


def merged(options: Optional[Options], keywords: Mapping[str, Any]) -> Optional[Options]:
    """The options with those said by keyword in their place. None: nothing was said."""
    if options is not None and not isinstance(options, Options):
        raise TypeError(
            f"options: Options(...) is wanted, not {type(options).__name__}; options also go as "
            "keywords: summarize(text, num_beams=4)"
        )
    if not keywords:
        return options
    for name in keywords:
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, 1)
            hint = f"; is {near[0]} meant?" if near else ""
            raise TypeError(f"{name}: there is no such argument or option{hint}")
    return dataclasses.replace(options or Options(), **keywords)


def _checked(name: str, value: Any) -> Any:
    """The value as the dataclass keeps it."""
    if name in _ENUMS:
        return values.member(name, _ENUMS[name], value)
    if name == "stop":
        return values.strings(name, value)
    if name == "suppressed_token_ids":
        return values.ids(name, value)
    if name == "bad_words":
        words = values.listed(name, value, "lists of token ids")
        return tuple(values.ids(f"{name}[{at}]", word) for at, word in enumerate(words))
    return values.scalar(name, pb.GenerationOptions.DESCRIPTOR.fields_by_name[name].type, value)
