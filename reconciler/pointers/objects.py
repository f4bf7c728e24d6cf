"""Kubernetes objects that hold a flag document: a ConfigMap, or flagd's own FeatureFlag, which flagd watches. Pure.

Source: https://flagd.dev/reference/sync-configuration/ and the CRD `featureflags.core.openfeature.dev`, v1beta1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from environments.names import LABEL_PREFIX
from reconciler.core.canonical import Json, canonical_json
from reconciler.kubernetes import Kind
from reconciler.kubernetes.kinds import CONFIG_MAP, FEATURE_FLAG
from reconciler.pointers.document import document, empty

KEY = "flags.json"
ABOUT = f"{LABEL_PREFIX}/flags-json"
"""The annotation of a FeatureFlag with what its CRD has no place for: whose flags they are, and fences."""
NOTHING = "sluice-publishes-nothing"
"""A flag that stands for none of ours: where the last entry of a map is taken away, the API server leaves null in its
place, which the CRD refuses."""
_OFF: Json = {"state": "DISABLED", "variants": {"off": "off"}, "defaultVariant": "off"}
Body = Mapping[str, Any]


class Holder(Protocol):
    """One kind of object that can hold a document; `spreads` says in words how fast a change reaches applications."""

    @property
    def kind(self) -> Kind:
        """Return the object's kind."""
        ...

    @property
    def spreads(self) -> str:
        """Return how long a change takes to reach applications."""
        ...

    def content(self, body: Body | None) -> Json:
        """Return the document in an object, an empty one of no object.

        Raises:
            ValueError, TypeError: what is in it is no document.
        """
        ...

    def spec(self, content: Json) -> Json:
        """Return what is applied of an object besides its name and labels."""
        ...


class InConfigMap:
    """A ConfigMap whose key `flags.json` applications or flagd mount as a file."""

    kind = CONFIG_MAP
    spreads = "a pod that mounts it has a change when its kubelet next looks, up to two minutes later"

    def content(self, body: Body | None) -> Json:
        """Return the document in the key `flags.json`."""
        text = ((body or {}).get("data") or {}).get(KEY)
        return empty() if text is None else document(json.loads(text))

    def spec(self, content: Json) -> Json:
        """Return the whole document as one key: nobody reads half of it."""
        return {"data": {KEY: json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"}}


class InFeatureFlag:
    """A FeatureFlag, which flagd watches (`--sources '[{"uri": "NAMESPACE/NAME", "provider": "kubernetes"}]'`).

    Its schema knows no `metadata` and wants a text as `defaultVariant`: an empty one is none to flagd, too. Flags of
    other field managers in it stay theirs.
    """

    kind = FEATURE_FLAG
    spreads = "flagd watches it and has a change within about a second"

    def content(self, body: Body | None) -> Json:
        """Return the document whose flags are in the spec and whose metadata are in an annotation."""
        if body is None:
            return empty()
        about = json.loads((body["metadata"].get("annotations") or {}).get(ABOUT, "{}"))
        whose = about.get("flags", {})
        flags = ((body.get("spec") or {}).get("flagSpec") or {}).get("flags") or {}
        told = {key: _whole(flag, whose.get(key)) for key, flag in flags.items() if key != NOTHING}
        return document(empty() | {"flags": told, "metadata": about.get("metadata", {})})

    def spec(self, content: Json) -> Json:
        """Return our flags alone: whoever applies another's flag would own it."""
        ours = {key: flag for key, flag in content["flags"].items() if "metadata" in flag}
        about = {"flags": {key: flag["metadata"] for key, flag in ours.items()}, "metadata": content["metadata"]}
        flags = {key: _bare(flag) for key, flag in ours.items()} or {NOTHING: _OFF}
        return {"metadata": {"annotations": {ABOUT: canonical_json(about)}}, "spec": {"flagSpec": {"flags": flags}}}


HOLDERS: Mapping[str, Holder] = {"config_map": InConfigMap(), "feature_flag": InFeatureFlag()}


def applied(holder: Holder, content: Json, metadata: Json) -> Json:
    """Return the object of that name, version and labels to apply."""
    spec = holder.spec(content)
    whole = metadata | spec.pop("metadata", {})
    return {"apiVersion": holder.kind.api_version, "kind": holder.kind.name, "metadata": whole, **spec}


def _bare(flag: Json) -> Json:
    kept = {key: value for key, value in flag.items() if key != "metadata"}
    return kept | {"defaultVariant": flag["defaultVariant"] or ""}


def _whole(flag: Json, about: Json | None) -> Json:
    return flag if about is None else flag | {"defaultVariant": flag.get("defaultVariant") or None, "metadata": about}
