"""Where servers are, as gRPC names it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Optional, Union

_SCHEMES = ("dns:", "ipv4:", "ipv6:")  # of gRPC; the host is after them
_SOCKETS = ("unix:", "unix-abstract:")


def checked(given: Union[str, Sequence[str]], secure: bool) -> tuple[str, ...]:
    addresses: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given)
    if not addresses or not all(addresses):
        raise ValueError("addresses: none is given")
    for address in addresses:
        if not isinstance(address, str):
            raise TypeError(f"addresses: a string is wanted, not {type(address).__name__}")
        scheme, separator, rest = address.partition("://")
        if separator and scheme in ("http", "https", "grpc", "grpcs"):
            raise ValueError(f'addresses: "{address}" is a URL; write "{rest.rstrip("/")}"')
        # With TLS the port that gRPC takes, 443, may well be meant.
        if not secure and not address.startswith(_SOCKETS) and _port(address) is None:
            raise ValueError(f'addresses: "{address}" has no port; write "{address}:50051"')
    return addresses


def target(addresses: tuple[str, ...]) -> str:
    """gRPC's name for the addresses. Several ones are balanced in turns, those that answer."""
    if len(addresses) == 1:
        return addresses[0]
    kinds = {_ip_version(address) for address in addresses}
    if len(kinds) != 1 or None in kinds:
        raise ValueError(
            "addresses: several ones must be IP addresses with ports, all of one version "
            "(one DNS name with several records is balanced as it is)"
        )
    return f"ipv{kinds.pop()}:" + ",".join(addresses)


def is_local(address: str) -> bool:
    """Whether it is on this machine for sure."""
    if address.startswith(_SOCKETS):
        return True
    host = _host(address).lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _parts(address: str) -> tuple[str, Optional[str]]:
    for scheme in _SCHEMES:
        if address.startswith(scheme):
            address = address[len(scheme):].rsplit("/", 1)[-1]
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        return host, rest[1:] or None
    if address.count(":") > 1:  # IPv6 without a port
        return address, None
    host, _, port = address.partition(":")
    return host, port or None


def _host(address: str) -> str:
    return _parts(address)[0]


def _port(address: str) -> Optional[str]:
    return _parts(address)[1]


def _ip_version(address: str) -> Optional[int]:
    try:
        return ipaddress.ip_address(_host(address)).version
    except ValueError:
        return None
