"""The client of Kubernetes: server-side apply, views that a watch keeps up to date, and errors that say what to do."""

from reconciler.kubernetes.client import KubeClient, open_client
from reconciler.kubernetes.explain import Asked, refused_pod
from reconciler.kubernetes.kinds import Body, Key, Kind, key_of
from reconciler.kubernetes.ports import Applied, KubeReader, KubeWriter, View

__all__ = [
    "Applied",
    "Asked",
    "Body",
    "Key",
    "Kind",
    "KubeClient",
    "KubeReader",
    "KubeWriter",
    "View",
    "key_of",
    "open_client",
    "refused_pod",
]
