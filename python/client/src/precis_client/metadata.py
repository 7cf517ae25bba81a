"""gRPC metadata of a call: the caller's own, checked, with the token and the request's id."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Optional, Union

Value = Union[str, bytes]
Metadata = Union[Mapping[str, Value], Sequence[tuple[str, Value]]]
MetadataSource = Union[Metadata, Callable[[], Metadata]]  # a function is asked for each attempt
Pairs = tuple[tuple[str, Value], ...]

_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
_GRPCS_OWN = ("content-type", "te", "user-agent")


def pairs(name: str, given: Optional[MetadataSource]) -> Pairs:
    """Keys in lower case, as HTTP/2 has them. Raises TypeError or ValueError that names the key."""
    if callable(given):
        given = given()
    if given is None:
        return ()
    items: Any = given.items() if isinstance(given, Mapping) else given
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(f"{name}: a mapping, or pairs of key and value, is wanted")
    made: list[tuple[str, Value]] = []
    for item in items:
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[0], str):
            raise TypeError(f"{name}: pairs of key and value are wanted, not {item!r:.60}")
        key, value = item[0].lower(), item[1]
        made.append((key, _checked(f"{name}[{item[0]!r}]", key, value)))
    return tuple(made)


def _checked(name: str, key: str, value: Any) -> Value:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{name}: a key has letters, digits, and _ . - only")
    if key.startswith("grpc-") or key in _GRPCS_OWN:
        raise ValueError(f"{name}: this key is gRPC's own")
    if key.endswith("-bin"):
        if not isinstance(value, bytes):
            raise TypeError(f"{name}: a key that ends in -bin has bytes, not {type(value).__name__}")
    elif not isinstance(value, str):
        raise TypeError(f"{name}: a string is wanted, not {type(value).__name__}")
    elif not _VALUE.fullmatch(value):
        raise ValueError(f"{name}: printable ASCII only; for other bytes a key that ends in -bin")
    checked: Value = value
    return checked


def has(metadata: Pairs, key: str) -> bool:
    return any(one == key for one, _ in metadata)
