"""Judge a connection against NetworkPolicies: who may reach which pod on which port.

Source: networking.k8s.io/v1 NetworkPolicy; a pod that a policy selects takes what some policy of its namespace lets in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Peer:
    """A pod by namespace and labels, or an address of something that is no pod."""

    namespace: str = ""
    labels: Labels = field(default_factory=dict)
    address: str = ""


def lets_in(policies: Sequence[Mapping[str, Any]], source: Peer, target: Peer, port: int) -> bool:
    """Return whether a connection to a pod is let in; a pod that no policy selects takes everything."""
    selecting = [p for p in policies if _selects(p, target)]
    rules = [rule for policy in selecting for rule in policy["spec"].get("ingress") or []]
    return not selecting or any(_from(rule, source, target) and _port(rule, port) for rule in rules)


def _selects(policy: Mapping[str, Any], pod: Peer) -> bool:
    spec = policy["spec"]
    kinds = spec.get("policyTypes") or ["Ingress"]
    return (
        policy["metadata"]["namespace"] == pod.namespace
        and "Ingress" in kinds
        and _match(spec.get("podSelector"), pod.labels)
    )


def _match(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    wanted = (selector or {}).get("matchLabels") or {}
    return wanted.items() <= dict(labels).items()


def _from(rule: Mapping[str, Any], source: Peer, target: Peer) -> bool:
    peers = rule.get("from")
    return not peers or any(_is(peer, source, target) for peer in peers)


def _is(peer: Mapping[str, Any], source: Peer, target: Peer) -> bool:
    if "ipBlock" in peer:
        network = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return bool(source.address) and ipaddress.ip_address(source.address) in network
    if source.address:
        return False
    spaces = peer.get("namespaceSelector")
    named = {"kubernetes.io/metadata.name": source.namespace}
    here = _match(spaces, named) if spaces is not None else source.namespace == target.namespace
    return here and _match(peer.get("podSelector"), source.labels)


def _port(rule: Mapping[str, Any], port: int) -> bool:
    ports = rule.get("ports")
    return not ports or any(given.get("port") in (None, port) for given in ports)
