"""What servers start from beside their model: an immutable ConfigMap of the slot, called by what it holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from environments.errors import SluiceError
from environments.names import slot_labels, slot_object
from reconciler.core.canonical import Json, digest
from reconciler.platforms.kubernetes import marks
from reconciler.ports import PlannedFiles, SlotAddress

BYTES_MAX = 1024 * 1024
"""What a ConfigMap may hold, keys and texts together. Source: `MaxSecretSize` of Kubernetes, which counts for both."""
_VOLUME = "files"
_DIGITS = 12


def config_map(slot: SlotAddress, namespace: str, files: PlannedFiles, *, fence: int) -> Json:
    """Return the ConfigMap with a slot's files."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": files_name(slot, files),
            "namespace": namespace,
            "labels": slot_labels(slot.address.endpoint, slot.slot),
            "annotations": {marks.ADDRESS: str(slot), marks.FENCE: str(fence)},
        },
        "immutable": True,
        "data": {key: files.files[path] for path, key in _keys(files.files).items()},
    }


def files_name(slot: SlotAddress, files: PlannedFiles) -> str:
    """Return the name of the ConfigMap with these files: others have another one."""
    told = digest(dict(files.files)).removeprefix("sha256:")[:_DIGITS]
    return f"{slot_object(slot.address.endpoint, slot.slot)}-{told}"


def check_files(where: str, files: PlannedFiles) -> None:
    """Refuse what no ConfigMap holds.

    Raises:
        SluiceError: `PLAT-032`.
    """
    size = sum(len(key) + len(files.files[path].encode()) for path, key in _keys(files.files).items())
    if size > BYTES_MAX:
        largest = max(files.files, key=lambda path: len(files.files[path]))
        raise SluiceError(
            "PLAT-032",
            where=where,
            what=f"what its servers start from beside the model has {size} bytes",
            why=f"a ConfigMap holds {BYTES_MAX}; the largest file is {largest}",
            do="shorten the configurations of its models, or serve some of the models from another endpoint",
        )


def files_volumes(files: PlannedFiles | None, name: str) -> list[Json]:
    """Return the volume with a slot's files; none where it has none."""
    if files is None:
        return []
    items = [{"key": key, "path": path} for path, key in _keys(files.files).items()]
    return [{"name": _VOLUME, "configMap": {"name": name, "items": items}}]


def files_mounts(files: PlannedFiles, root: str) -> list[Json]:
    """Return a mount for each file below `root`: one by one, for a ConfigMap's own folder takes no mounts inside it."""
    return [
        {"name": _VOLUME, "subPath": path, "mountPath": f"{root}/{path}", "readOnly": True}
        for path in sorted(files.files)
    ]


def _keys(files: Mapping[str, str]) -> dict[str, str]:
    """Return the ConfigMap's key of each path, which may have no slash."""
    return {path: f"{number}-{path.rpartition('/')[2]}" for number, path in enumerate(sorted(files))}
