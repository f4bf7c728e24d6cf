"""The client of Kubernetes: server-side apply, views that a watch keeps up to date, and errors that say what to do."""

from reconciler.kubernetes.kinds import Body, Key, Kind, key_of
from reconciler.kubernetes.ports import Applied, KubeReader, KubeWriter, View

__all__ = ["Applied", "Body", "Key", "Kind", "KubeReader", "KubeWriter", "View", "key_of"]
