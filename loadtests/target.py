"""Where load goes: a base URL that the caller has allowed, and the headers that pick a slot there.

Imports `environments.errors`. The engine sends to nothing but a `Target` that `checked_target` made.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from environments.errors import SluiceError, nearest

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """One arm of a load: `name` for people, address, path before `/v1/…`, and model name to ask for.

    `slot` is sent as `x-sluice-slot`; an answer that says it came from another slot is then a failed request.
    """

    name: str
    scheme: str
    host: str
    port: int
    prefix: str
    model: str
    slot: str | None = None
    api_key: str | None = None

    @property
    def origin(self) -> str:
        """Return `scheme://host:port`, the form in which allow-lists name addresses."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        """Return the target without its key, so that no log shows it."""
        return f"Target({self.name!r}, {self.origin}{self.prefix}, slot={self.slot!r})"


def checked_target(
    url: str, *, allowed: Collection[str], model: str, name: str, slot: str | None = None, api_key: str | None = None
) -> Target:
    """Return the target at `url` (with or without a trailing `/v1`) when its origin is in `allowed`.

    `allowed` holds URLs whose origins may be loaded: the addresses that the environment names, nothing else.

    Raises:
        SluiceError: `LOAD-010` not an http(s) URL, `LOAD-011` an address that the environment does not name.
    """
    scheme, host, port, path = _split(url)
    target = Target(name, scheme, host, port, path, model, slot, api_key)
    origins = {_origin(entry) for entry in allowed}
    if target.origin not in origins:
        raise SluiceError(
            "LOAD-011",
            where=name,
            what=f"load was about to go to {target.origin}, which the environment does not name",
            why=nearest(target.origin, origins),
            do="name the address in the environment file, or correct the URL",
        )
    return target


def _origin(url: str) -> str:
    scheme, host, port, _ = _split(url)
    return Target("", scheme, host, port, "", "").origin


def _split(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad_url(url, str(error)) from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise _bad_url(url, "it needs http:// or https:// and a host")
    if parts.username or parts.query or parts.fragment or any(c.isspace() or ord(c) < 32 for c in url):
        raise _bad_url("…", "user names, queries, fragments and blanks have no place in it")
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme], parts.path.rstrip("/").removesuffix("/v1")


def _bad_url(url: str, why: str) -> SluiceError:
    return SluiceError(
        "LOAD-010", where=url, what="not the base URL of a server", why=why, do="write it as http://HOST:PORT/PREFIX"
    )
