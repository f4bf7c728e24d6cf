"""Kubeconfigs of one context, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_kubeconfig(path: Path, server: str, *, token: str = "", authority: str = "", context: str = "test") -> Path:
    """Write a kubeconfig of one context."""
    import yaml

    cluster: dict[str, Any] = {"server": server} | ({"certificate-authority": authority} if authority else {})
    user = {"token": token} if token else {}
    content = {
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    path.write_text(yaml.safe_dump(content))
    return path
