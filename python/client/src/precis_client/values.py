"""Checks of what callers pass. Each raises TypeError or ValueError whose message begins with the name of
the argument, so that a mistake is found where it was made and not in a library below.
"""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Iterable
from typing import Any, Union

from google.protobuf.descriptor import FieldDescriptor

_BITS = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_UINT64: 64}


def _wrong(name: str, wanted: str, value: Any) -> TypeError:
    return TypeError(f"{name}: {wanted} is wanted, not {type(value).__name__}")


def string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "a string", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name}: character {error.start} is half of a surrogate pair and cannot be sent"
        ) from None
    return value


def whole(name: str, value: Any, bits: int = 32) -> int:
    """0 or more; what counts as an index in Python does here, numpy's integers too."""
    if isinstance(value, bool):
        raise _wrong(name, "a whole number", value)
    try:
        number = operator.index(value)
    except TypeError:
        raise _wrong(name, "a whole number", value) from None
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{name}: {number} is not between 0 and {(1 << bits) - 1}")
    return number


def number(name: str, value: Any) -> float:
    if isinstance(value, (bool, str, bytes)):
        raise _wrong(name, "a number", value)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _wrong(name, "a number", value) from None


def seconds(name: str, value: Any) -> float:
    """A time to wait, above 0."""
    made = number(name, value)
    if not 0 < made < math.inf:
        raise ValueError(f"{name}: {value} is not a number of seconds above 0")
    return made


def scalar(name: str, kind: int, value: Any) -> Any:
    """Of a field of the proto that is one number or string."""
    if kind in _BITS:
        return whole(name, value, _BITS[kind])
    if kind == FieldDescriptor.TYPE_STRING:
        return string(name, value)
    return number(name, value)


def listed(name: str, value: Any, of: str) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise _wrong(name, f"a list of {of}", value)
    return tuple(value)


def strings(name: str, value: Any) -> tuple[str, ...]:
    return tuple(
        string(f"{name}[{at}]", one) for at, one in enumerate(listed(name, value, "strings"))
    )


def ids(name: str, value: Any) -> tuple[int, ...]:
    return tuple(
        whole(f"{name}[{at}]", one) for at, one in enumerate(listed(name, value, "token ids"))
    )


def member(name: str, kind: type[enum.IntEnum], value: Any) -> Union[enum.IntEnum, int]:
    """Of an enum by its member, its name in any case, or (a server newer than this) any number."""
    if isinstance(value, kind):
        return value
    names = {one.name.lower(): one for one in kind}
    if isinstance(value, bool) and {"true", "false"} <= names.keys():
        return names[str(value).lower()]  # generate()'s early_stopping=True; 1 is another member
    known = ", ".join(f'"{one}"' for one in names)
    if isinstance(value, str):
        found = names.get(value.lower().replace("-", "_"))
        if found is None:
            raise ValueError(f'{name}: "{value}" is none of {known}')
        return found
    if isinstance(value, (bool, enum.Enum)) or not isinstance(value, int):
        raise _wrong(name, f"one of {known}", value)
    return known_or_number(kind, value)


def known_or_number(kind: type[enum.IntEnum], value: int) -> Union[enum.IntEnum, int]:
    """A number that this release has no name for stays a number."""
    try:
        return kind(value)
    except ValueError:
        return value


def instance(name: str, kind: type, value: Any) -> None:
    """Of an argument that may also be None."""
    if value is not None and not isinstance(value, kind):
        raise _wrong(name, f"{kind.__name__}(...)", value)
