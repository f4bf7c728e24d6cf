"""How to reach a cluster: a context of the kubeconfig, or the service account of the pod that Sluice runs in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from environments.errors import SluiceError, nearest

if TYPE_CHECKING:
    import httpx2
    from lightkube.config.kubeconfig import SingleConfig

_LISTS = ("clusters", "contexts", "users")
_FILES = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key", "tokenFile")}
_CONNECT_S, _READ_S = 10.0, 30.0


def config_of(context: str | None) -> SingleConfig:
    """Return the settings of a context; without a name, those of this pod, else of the current context.

    Raises:
        SluiceError: KUBE-001, with the contexts that there are; KUBE-014 when lightkube is not installed.
    """
    try:
        from lightkube.config.kubeconfig import KubeConfig, SingleConfig
        from lightkube.config.models import User
        from lightkube.core.exceptions import ConfigError
    except ImportError as error:
        what, do = f"a package for Kubernetes is missing: {error.name}", "pip install 'sluice[kubernetes]'"
        raise SluiceError("KUBE-014", what=what, do=do) from error
    if context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        try:
            return _with_user(KubeConfig.from_service_account().get(), SingleConfig, User)
        except (ConfigError, KeyError) as error:
            raise _unusable("this pod has no service account", str(error)) from error
    merged = _merged(_paths())
    _require(context, merged)
    try:
        return _with_user(KubeConfig.from_dict(merged).get(context), SingleConfig, User)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise _unusable("the kubeconfig cannot be used", repr(error), context) from error


def connect(config: SingleConfig) -> httpx2.AsyncClient:
    """Return an HTTP client with the context's address, certificates and credentials; nothing is sent yet.

    lightkube's own calls know no conditions on a delete, no Retry-After and no end of a watch that hangs; its
    configuration, its authentication and its TLS are what is used of it.

    Raises:
        SluiceError: KUBE-001 when a certificate or key cannot be read.
    """
    import httpx2
    from lightkube.config import client_adapter
    from lightkube.core.exceptions import ConfigError

    timeout = httpx2.Timeout(_READ_S, connect=_CONNECT_S)
    try:
        return client_adapter.AsyncClient(config, client_adapter.ConnectionParams(timeout=timeout))
    except (ConfigError, OSError, ValueError) as error:  # ssl.SSLError is an OSError
        what = "a certificate or a key of the context cannot be used"
        raise _unusable(what, str(error), config.context_name) from error


def _with_user(found: Any, config: type[SingleConfig], user: Any) -> SingleConfig:
    """Return the settings with a user without credentials where there is none, which lightkube would not take."""
    if not isinstance(found, config):
        raise ValueError("no context is chosen")
    return found if found.user is not None else found._replace(user=user())


def _paths() -> list[Path]:
    named = os.environ.get("KUBECONFIG", "")
    return [Path(p).expanduser() for p in named.split(os.pathsep) if p] or [Path("~/.kube/config").expanduser()]


def _merged(paths: list[Path]) -> dict[str, Any]:
    """Return all files as one, the first that has a name winning, as kubectl does."""
    merged: dict[str, Any] = {"current-context": None} | {name: [] for name in _LISTS}
    there = [path for path in paths if path.is_file()]
    if not there:
        raise _unusable("there is no kubeconfig", f"not a file: {', '.join(map(str, paths))}")
    for path in there:
        content = _read(path)
        merged["current-context"] = merged["current-context"] or content.get("current-context") or None
        for name in _LISTS:
            known = {row["name"] for row in merged[name]}
            merged[name] += [row for row in content.get(name) or [] if row["name"] not in known]
    return merged


def _read(path: Path) -> dict[str, Any]:
    """Read one file; the files that it names are relative to it."""
    try:
        content = yaml.safe_load(path.read_text()) or {}
        for name, single in zip(_LISTS, ("cluster", "context", "user"), strict=True):
            for row in content.get(name) or []:
                row["name"], inside = str(row["name"]), row[single]
                for key in _FILES.get(single, ()):
                    if inside.get(key):
                        inside[key] = str(path.parent / inside[key])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise _unusable(f"{path} cannot be read", repr(error)) from error
    return dict(content)


def _require(context: str | None, merged: dict[str, Any]) -> None:
    known = [row["name"] for row in merged["contexts"]]
    wanted = context if context is not None else merged["current-context"]
    if wanted is None:
        why = f"the kubeconfig has no current context; {nearest('', known)}"
        raise _unusable("no context is chosen", why)
    if wanted not in known:
        raise _unusable(f'the kubeconfig has no context "{wanted}"', nearest(wanted, known), wanted)


def _unusable(what: str, why: str, context: str | None = None) -> SluiceError:
    do = "correct `context`, or write that context (such as `aws eks update-kubeconfig --alias NAME`)"
    return SluiceError("KUBE-001", where=f"context {context}" if context else "", what=what, why=why, do=do)
