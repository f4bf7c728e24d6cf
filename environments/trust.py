"""What this machine allows an environment file to reach, said outside the file: variables, hosts and folders.

Whoever can change the file in a pull request cannot change the environment of the job that plans it; so what is secret
there is given away by neither. Pure: the variables are given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from environments.redact import SECRET_KEY

ALLOWED_VARIABLES = "SLUICE_ALLOWED_ENV"
TRUSTED_HOSTS = "SLUICE_TRUSTED_HOSTS"
FILE_ROOTS = "SLUICE_FILE_ROOTS"
TRACKING_URI = "MLFLOW_TRACKING_URI"
STORE = "SLUICE_STORE"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Trust:
    """What the machine allows. `origins` are `(scheme, host, port)`, `hosts` are `HOST` or `HOST:PORT`."""

    variables: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()
    origins: frozenset[tuple[str, str, int]] = frozenset()
    roots: tuple[Path, ...] = ()

    def allows_variable(self, name: str) -> bool:
        """Return whether a file may name this variable: ours unless its name is a secret's, and what was listed."""
        if any(fnmatchcase(name, pattern) for pattern in self.variables):
            return True
        return name == TRACKING_URI or (name.startswith("SLUICE_") and not SECRET_KEY.search(name))

    def allows_host(self, url: str) -> bool:
        """Return whether credentials of this machine may be sent to where `url` points."""
        scheme, host, port = origin_of(url)
        listed = {host, f"{host}:{port}"} & self.hosts
        return bool(host) and (bool(listed) or (scheme, host, port) in self.origins)


def trust_of(environ: Mapping[str, str]) -> Trust:
    """Return what the variables of a process say."""
    tracking = environ.get(TRACKING_URI, "")
    return Trust(
        variables=_listed(environ.get(ALLOWED_VARIABLES, "")),
        hosts=frozenset(host.lower() for host in _listed(environ.get(TRUSTED_HOSTS, ""))),
        origins=frozenset({origin_of(tracking)} if origin_of(tracking)[1] else ()),
        roots=tuple(Path(root) for root in environ.get(FILE_ROOTS, "").split(os.pathsep) if root),
    )


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host in small letters, and port of an address; no host where it has none that can be read."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "", "", 0


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.replace(",", " ").split() if part)
