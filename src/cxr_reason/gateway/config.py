"""Settings of the gateway, from a TOML file.

model = "cxr-reason"                # the name that callers ask for
timeout_s = 600
allow_anonymous = false             # listen beyond this machine without keys
allowed_image_hosts = []            # remote image URLs: "host" or "host:port"

[limits]
max_body_mib = 96
max_film_mib = 64
requests_per_minute = 120           # of one key, or of one address where there are no keys
max_in_flight = 64

[[keys]]
name = "reading room 2"
sha256 = "…"                        # of the key, hexadecimal
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cxr_reason.errors import BadRequestError
from cxr_reason.settings import ReadingSettings, check_setting

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOST = re.compile(r"[a-z0-9.-]+(?::\d{1,5})?")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MIB = 2**20


@dataclass(frozen=True)
class Key:
    """Who may call. The key itself is not stored.

    Attributes:
        name: Whose it is; stands in the log.
        sha256: SHA-256 of the key, hexadecimal.
    """

    name: str
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isprintable() or not self.name:
            raise BadRequestError("keys: name must be printable text")
        if not isinstance(self.sha256, str) or not _SHA256.fullmatch(self.sha256):
            raise BadRequestError(
                f"keys: sha256 of {self.name!r} must be 64 lower-case hexadecimal digits; "
                "`printf %s KEY | sha256sum` prints them"
            )


@dataclass(frozen=True)
class Limits:
    """What a caller may send.

    Attributes:
        max_body_mib: Mebibytes of a request.
        max_film_mib: Mebibytes of a film's file.
        requests_per_minute: Of one caller; as many may come at once.
        max_in_flight: Requests of all callers at a time.
    """

    max_body_mib: int = 96  # a film of 64 MiB in base64, and the text around it
    max_film_mib: int = 64
    requests_per_minute: int = 120
    max_in_flight: int = 64

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadRequestError(f"limits: {entry.name} must be a whole number, at least 1")

    @property
    def max_body_bytes(self) -> int:
        """Bytes of a request."""
        return self.max_body_mib * _MIB

    @property
    def max_film_bytes(self) -> int:
        """Bytes of a film's file."""
        return self.max_film_mib * _MIB


@dataclass(frozen=True)
class GatewayConfig:
    """Settings of the gateway.

    Attributes:
        keys: Who may call; without any, everyone who reaches the port.
        limits: What a caller may send.
        model: The name that callers ask for.
        timeout_s: Seconds for one request.
        allow_anonymous: Listen beyond this machine although there are no keys.
        allowed_image_hosts: Hosts that image URLs may name; none by default.
    """

    keys: tuple[Key, ...] = ()
    limits: Limits = field(default_factory=Limits)
    model: str = "cxr-reason"
    timeout_s: float = ReadingSettings.timeout_s
    allow_anonymous: bool = False
    allowed_image_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise BadRequestError("model: must be a name")
        check_setting("timeout_s", self.timeout_s)
        if not isinstance(self.allow_anonymous, bool):
            raise BadRequestError("allow_anonymous: must be true or false")
        for host in self.allowed_image_hosts:
            if not isinstance(host, str) or not _HOST.fullmatch(host):
                raise BadRequestError(
                    'allowed_image_hosts: entries must be lower-case "host" or "host:port"'
                )

    def check_host(self, host: str) -> None:
        """Refuse to listen beyond this machine without keys.

        Raises:
            BadRequestError: There are none, and `allow_anonymous` is not set.
        """
        if host not in _LOOPBACK and not self.keys and not self.allow_anonymous:
            raise BadRequestError(
                f"host: {host} is reachable from elsewhere, and there are no keys; add [[keys]] to "
                "the config, or `allow_anonymous = true` if something else guards the port"
            )


def read_config(path: Path) -> GatewayConfig:
    """Read a config file.

    Raises:
        BadRequestError: Unreadable, not TOML, an unknown name or a value that is not allowed.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequestError(f"config: cannot be read as TOML: {error}") from error
    keys = entries.pop("keys", [])
    hosts = entries.pop("allowed_image_hosts", [])
    if not isinstance(keys, list) or not isinstance(hosts, list):
        raise BadRequestError("config: keys and allowed_image_hosts must be lists")
    return _make(
        GatewayConfig,
        {
            **entries,
            "keys": tuple(_make(Key, key) for key in keys),
            "limits": _make(Limits, entries.pop("limits", {})),
            "allowed_image_hosts": tuple(hosts),
        },
    )


def _make(cls: Any, entries: Any) -> Any:
    names = [entry.name for entry in fields(cls)]
    if not isinstance(entries, dict) or not set(entries) <= set(names):
        raise BadRequestError(f"config: {cls.__name__} takes {', '.join(names)} and nothing else")
    try:
        return cls(**entries)
    except TypeError as error:
        raise BadRequestError(f"config: {cls.__name__} needs {', '.join(names)}") from error
