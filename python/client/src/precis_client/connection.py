"""How a server is spoken to: TLS, token, metadata, keepalive, and the options of the channel."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

import grpc

from . import addresses as places
from . import values
from .metadata import Metadata, MetadataSource, Pairs, has, pairs

SERVICE = "precis.v1.SummarizationService"
Pem = Union[str, "os.PathLike[str]", bytes]
Token = Union[str, Callable[[], str]]


@dataclasses.dataclass(frozen=True)
class Tls:
    """Certificates as paths of PEM files, or as bytes of PEM. `certificate` with `private_key`: mTLS."""

    root_certificates: Optional[Pem] = None  # None: gRPC's own list of public authorities
    certificate: Optional[Pem] = None
    private_key: Optional[Pem] = None
    server_name: Optional[str] = None  # in the server's certificate, where the address is another

    def credentials(self) -> grpc.ChannelCredentials:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("tls: certificate and private_key go together")
        return grpc.ssl_channel_credentials(
            _pem("root_certificates", self.root_certificates),
            _pem("private_key", self.private_key),
            _pem("certificate", self.certificate),
        )


@dataclasses.dataclass(frozen=True)
class Keepalive:
    """Pings while calls are under way, so that a server whose machine is gone is noticed. A server that
    is pinged more often than it allows (gRPC's default: every 5 minutes) closes the connection.
    """

    time: float = 330.0
    timeout: float = 20.0

    def __post_init__(self) -> None:
        values.seconds("keepalive.time", self.time)
        values.seconds("keepalive.timeout", self.timeout)


@dataclasses.dataclass(frozen=True)
class Connection:
    """What Client and AsyncClient share of their arguments, checked."""

    addresses: tuple[str, ...]
    tls: Optional[Tls]
    token: Optional[Token]
    given_metadata: Optional[MetadataSource]
    keepalive: Optional[Keepalive]
    max_message_bytes: int
    secrets_allowed: bool

    @classmethod
    def make(
        cls,
        addresses: Union[str, Sequence[str]],
        tls: Optional[Tls],
        token: Optional[Token],
        metadata: Optional[MetadataSource],
        keepalive: Optional[Keepalive],
        max_message_bytes: int,
        allow_plaintext_token: bool,
    ) -> Connection:
        values.instance("tls", Tls, tls)
        values.instance("keepalive", Keepalive, keepalive)
        values.whole("max_message_bytes", max_message_bytes, 31)
        if token is not None and not callable(token):
            values.string("token", token)
        given = places.checked(addresses, tls is not None)
        far = [one for one in given if not places.is_local(one)]
        allowed = tls is not None or allow_plaintext_token or not far
        if token is not None and not allowed:
            raise ValueError(
                f"token: without TLS anybody on the way to {far[0]} reads it; give tls=Tls(...), or "
                "allow_plaintext_token=True if that is meant"
            )
        made = cls(given, tls, token, metadata, keepalive, max_message_bytes, allowed)
        made.target()
        if not callable(metadata) and not callable(token):
            made.metadata("")  # a mistake in it is found here, not at the first call
        return made

    def target(self) -> str:
        return places.target(self.addresses)

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
        # http_proxy in the environment is for what is far away. gRPC would send loopback there, too, and
        # would ask a proxy for all of several addresses at once.
        if len(self.addresses) > 1 or places.is_local(self.addresses[0]):
            options.append(("grpc.enable_http_proxy", 0))
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

    def of_call(self, request_id: str, metadata: Optional[Metadata]) -> CallMetadata:
        """Raises what is wrong with them. Empty and None: nothing besides the client's."""
        values.string("request_id", request_id)
        made = CallMetadata(self, request_id, pairs("metadata", metadata))
        if not callable(self.given_metadata) and not callable(self.token):
            made.of_attempt()
        return made

    def metadata(self, request_id: str, of_call: Pairs = ()) -> Pairs:
        """Of one attempt: functions are asked each time, so that a token or a trace may change."""
        made = [*pairs("metadata", self.given_metadata), *of_call]
        if has(tuple(made), "authorization"):
            if self.token is not None:
                raise ValueError("metadata: the client has a token, which is in authorization")
            if not self.secrets_allowed:
                raise ValueError(
                    "metadata: authorization goes in plain text; give tls=Tls(...), or "
                    "allow_plaintext_token=True if that is meant"
                )
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            made.append(("authorization", f"Bearer {token}"))
        if request_id:
            if has(tuple(made), "x-request-id"):
                raise ValueError("request_id: metadata has an x-request-id already")
            made += pairs("request_id", {"x-request-id": request_id})
        return tuple(made)


@dataclasses.dataclass(frozen=True)
class CallMetadata:
    """The metadata of one call, whose attempts may differ in what functions give."""

    connection: Connection
    request_id: str
    own: Pairs

    def of_attempt(self) -> Pairs:
        return self.connection.metadata(self.request_id, self.own)


def _pem(name: str, value: Optional[Pem]) -> Optional[bytes]:
    if value is None or isinstance(value, bytes):
        return value
    try:
        with open(value, "rb") as file:
            return file.read()
    except OSError as error:
        raise type(error)(error.errno, f"tls: {name}: {error.strerror}", error.filename) from None
