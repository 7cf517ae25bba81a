"""Where the server is and how it is spoken to: addresses, TLS, token, keepalive."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

import grpc

SERVICE = "precis.v1.SummarizationService"
Pem = Union[str, "os.PathLike[str]", bytes]
Token = Union[str, Callable[[], str]]
Metadata = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Tls:
    """Certificates as paths of PEM files, or as bytes of PEM. `certificate` with `private_key`: mTLS."""

    root_certificates: Optional[Pem] = None  # None: gRPC's own list of public authorities
    certificate: Optional[Pem] = None
    private_key: Optional[Pem] = None
    server_name: Optional[str] = None  # in the server's certificate, where the address is another

    def credentials(self) -> grpc.ChannelCredentials:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("Tls: certificate and private_key go together")
        return grpc.ssl_channel_credentials(
            _pem(self.root_certificates), _pem(self.private_key), _pem(self.certificate)
        )


@dataclasses.dataclass(frozen=True)
class Keepalive:
    """Pings while calls are under way, so that a server whose machine is gone is noticed. A server that
    is pinged more often than it allows (gRPC's default: every 5 minutes) closes the connection.
    """

    time: float = 330.0
    timeout: float = 20.0


@dataclasses.dataclass(frozen=True)
class Connection:
    """What Client and AsyncClient share of their arguments, checked."""

    addresses: tuple[str, ...]
    tls: Optional[Tls]
    token: Optional[Token]
    keepalive: Optional[Keepalive]
    max_message_bytes: int

    @classmethod
    def make(
        cls,
        addresses: Union[str, Sequence[str]],
        tls: Optional[Tls],
        token: Optional[Token],
        keepalive: Optional[Keepalive],
        max_message_bytes: int,
        allow_plaintext_token: bool,
    ) -> Connection:
        given = (addresses,) if isinstance(addresses, str) else tuple(addresses)
        if not given or not all(given):
            raise ValueError("addresses: none is given")
        if token is not None and tls is None and not allow_plaintext_token:
            far = [one for one in given if not _is_local(one)]
            if far:
                raise ValueError(
                    f"token: without TLS anybody on the way to {far[0]} reads it; give tls=Tls(...), or "
                    "allow_plaintext_token=True if that is meant"
                )
        made = cls(given, tls, token, keepalive, max_message_bytes)
        made.target()
        return made

    def target(self) -> str:
        """gRPC's name for the addresses. Several ones are balanced in turns, those that answer."""
        if len(self.addresses) == 1:
            return self.addresses[0]
        kinds = {_ip_version(address) for address in self.addresses}
        if len(kinds) != 1 or None in kinds:
            raise ValueError(
                "addresses: several ones must be IP addresses with ports, all of one version "
                "(one DNS name with several records is balanced as it is)"
            )
        return f"ipv{kinds.pop()}:" + ",".join(self.addresses)

    def channel_options(self) -> list[tuple[str, Any]]:
        config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
        if len(self.addresses) > 1:
            # A server that drains leaves the turns before it refuses anything.
            config["healthCheckConfig"] = {"serviceName": SERVICE}
        options: list[tuple[str, Any]] = [
            ("grpc.service_config", json.dumps(config)),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            # A restarted server is found again within a second or so, not within two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if self.keepalive is not None:
            options.append(("grpc.keepalive_time_ms", int(self.keepalive.time * 1000)))
            options.append(("grpc.keepalive_timeout_ms", int(self.keepalive.timeout * 1000)))
        if self.tls is not None and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options

    def open(self, make_plain: Any, make_secure: Any) -> Any:
        """A channel by grpc's or grpc.aio's two functions."""
        if self.tls is None:
            return make_plain(self.target(), options=self.channel_options())
        return make_secure(self.target(), self.tls.credentials(), options=self.channel_options())

    def metadata(self, request_id: str) -> Metadata:
        """Of one attempt: a token that is a function is asked each time, so that it may change."""
        made: list[tuple[str, str]] = []
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            made.append(("authorization", f"Bearer {token}"))
        if request_id:
            made.append(("x-request-id", request_id))
        return tuple(made)


def _pem(value: Optional[Pem]) -> Optional[bytes]:
    if value is None or isinstance(value, bytes):
        return value
    with open(value, "rb") as file:
        return file.read()


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _ip_version(address: str) -> Optional[int]:
    try:
        return ipaddress.ip_address(_host(address)).version
    except ValueError:
        return None


def _is_local(address: str) -> bool:
    if address.startswith(("unix:", "unix-abstract:")) or _host(address) == "localhost":
        return True
    return _ip_version(address) is not None and ipaddress.ip_address(_host(address)).is_loopback
