"""Turns what the API server says into errors that a person can act on. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from environments.errors import SluiceError
from reconciler.kubernetes.answers import NoAnswer, NoCredentials, Refusal, owners
from reconciler.kubernetes.kinds import Body, Kind

_RIGHT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_PATH_RIGHT = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) path "(?P<path>[^"]*)"')
_QUOTA = re.compile(r"exceeded quota: ([^,]+), (.*)", re.DOTALL)
_SECURITY = re.compile(r'violates PodSecurity "([^"]*)": ?(.*)', re.DOTALL)
_ADMISSION = re.compile(r"admission webhook|denied the request|ValidatingAdmissionPolicy", re.IGNORECASE)

_NOT_IN_SCHEMA = "field not declared in schema"
"""What a server-side apply with an unknown field is answered with, and the status 500."""


@dataclass(frozen=True)
class Asked:
    """What was asked of which cluster: the first line of every error. Verbs are those of RBAC."""

    cluster: str
    verb: str = ""
    kind: Kind | None = None
    namespace: str = ""
    name: str = ""

    @property
    def object(self) -> str:
        """Return kind, namespace and name as far as they are known."""
        path = "/".join(part for part in (self.namespace, self.name) if part)
        return " ".join(part for part in (self.kind.name if self.kind else "", path) if part)

    @property
    def where(self) -> str:
        """Return cluster and object."""
        return f"{self.cluster}: {self.object}" if self.object else self.cluster


def explain(problem: Refusal | NoAnswer | NoCredentials, asked: Asked, managed: Sequence[Body] = ()) -> SluiceError:
    """Return the error for what went wrong; whatever is not recognised keeps the server's own words.

    `managed`, the object's `managedFields`, adds to a conflict when its owners wrote.
    """
    match problem:
        case NoAnswer():
            return _no_answer(problem, asked)
        case NoCredentials():
            return _unauthorized(str(problem), asked)
        case Refusal(code=401):
            return _unauthorized(problem.message, asked)
        case Refusal(code=404):
            return _not_found(problem, asked)
        case Refusal(code=409):
            return _conflict(problem, asked, managed)
        case Refusal(code=429 | 503):
            return _overloaded(problem, asked)
        case _:
            return refused_pod(problem.message, asked) or _forbidden(problem, asked) or _other(problem, asked)


def refused_pod(message: str, asked: Asked) -> SluiceError | None:
    """Return the error for a message that says why a namespace takes no pod or object, None where it says no such.

    The message is that of a 403 or 422, or of a Deployment's condition `ReplicaFailure`.
    """
    if found := _QUOTA.search(message):
        return SluiceError(
            "KUBE-007",
            where=asked.where,
            what=f'the quota "{found[1]}" is used up: {found[2].strip()}',
            do="free what it counts, or ask the owner of the namespace to raise it",
        )
    if found := _SECURITY.search(message):
        return SluiceError(
            "KUBE-006",
            where=asked.where,
            what=f'the namespace refuses the pod: it violates PodSecurity "{found[1]}"',
            why=found[2].strip(),
            do="set those fields of the pod, or let the namespace's label pod-security.kubernetes.io/enforce allow it",
        )
    if _ADMISSION.search(message):
        what, do = "an admission rule of the cluster refuses it", "change what the rule asks for, or talk to its owner"
        return SluiceError("KUBE-006", where=asked.where, what=what, why=message, do=do)
    return None


def _no_answer(problem: NoAnswer, asked: Asked) -> SluiceError:
    what = "the API server's certificate is refused" if problem.tls else "the API server does not answer"
    do = (
        "put the cluster's own CA into the kubeconfig (certificate-authority-data)"
        if problem.tls
        else "check the address in the kubeconfig, the network and any VPN; then run the same command again"
    )
    return SluiceError("KUBE-008", where=asked.where, what=what, why=str(problem), do=do, retryable=not problem.tls)


def _unauthorized(message: str, asked: Asked) -> SluiceError:
    return SluiceError(
        "KUBE-002",
        where=asked.where,
        what="the cluster refuses the credentials",
        why=message,
        do="sign in again (such as `aws sso login` or `az login`), or correct the user of this context",
    )


def _forbidden(problem: Refusal, asked: Asked) -> SluiceError | None:
    if problem.code != 403:
        return None
    if found := _PATH_RIGHT.search(problem.message):
        rule, where = f'nonResourceURLs: ["{found["path"]}"], verbs: ["{found["verb"]}"]', "ClusterRole"
        return _missing_right(problem, asked, f"{found['verb']} {found['path']}", f"{where} of {found['user']}", rule)
    found = _RIGHT.search(problem.message)
    if found is None:
        return None
    namespace = found["namespace"]
    scope = f'in the namespace "{namespace}"' if namespace else "in the whole cluster"
    rule = f'apiGroups: ["{found["group"]}"], resources: ["{found["resource"]}"], verbs: ["{found["verb"]}"]'
    role = f'{"Role" if namespace else "ClusterRole"} of "{found["user"]}"'
    return _missing_right(problem, asked, f"{found['verb']} {found['resource']} {scope}", role, rule)


def _missing_right(problem: Refusal, asked: Asked, right: str, role: str, rule: str) -> SluiceError:
    what, do = f"the right to {right} is missing", f"add to the {role}: {{{rule}}}"
    return SluiceError("KUBE-003", where=asked.where, what=what, why=problem.message, do=do)


def _not_found(problem: Refusal, asked: Asked) -> SluiceError:
    if absent := problem.absent_object:
        do = "create it first, or correct the name"
        return SluiceError("KUBE-012", where=asked.where, what=f"{absent} is not there", do=do, retryable=False)
    kind = asked.kind
    what = f'the cluster knows no {kind.name} in "{kind.api_version}"' if kind else "the cluster knows no such path"
    do = f"install the CRD {kind.plural}.{kind.group} at that version" if kind and kind.group else "correct the path"
    return SluiceError("KUBE-004", where=asked.where, what=what, why=problem.message, do=do)


def _conflict(problem: Refusal, asked: Asked, managed: Sequence[Body]) -> SluiceError:
    held = owners(problem, managed)
    if not held:
        return _changed(problem, asked)
    lines = [f"{o.field} is {o.manager}'s ({o.operation or 'unknown'}{' at ' + o.at if o.at else ''})" for o in held]
    return SluiceError(
        "KUBE-005",
        where=asked.where,
        what="; ".join(lines),
        why="a field that somebody else manages is never taken without being asked to",
        do=f"let {', '.join(sorted({o.manager for o in held}))} give up these fields, or take them: `sluice adopt`",
    )


def _changed(problem: Refusal, asked: Asked) -> SluiceError:
    return SluiceError(
        "KUBE-010",
        where=asked.where,
        what="the object is another one, or in a later state, than the one that was judged; nothing was written",
        why=problem.message,
        do="look at it again: the same command reads it anew",
        retryable=True,
    )


def _overloaded(problem: Refusal, asked: Asked) -> SluiceError:
    return SluiceError(
        "KUBE-009",
        where=asked.where,
        what=f"the API server has no room for more requests (HTTP {problem.code})",
        why=problem.message,
        do="wait; if it stays so, give Sluice's service account a FlowSchema of its own",
        retryable=True,
    )


def _other(problem: Refusal, asked: Asked) -> SluiceError:
    if problem.code == 422 and any(c.field == "metadata.uid" for c in problem.causes):
        return _changed(problem, asked)
    if problem.code in (400, 403, 422) or _NOT_IN_SCHEMA in problem.message:
        what, do = "the API server refuses what was sent", "correct the fields that the message names"
        return SluiceError("KUBE-011", where=asked.where, what=what, why=problem.message, do=do)
    what = f"the API server answers with HTTP {problem.code}"
    do = "look at the API server's log; then run the same command again"
    return SluiceError("KUBE-016", where=asked.where, what=what, why=problem.message, do=do, retryable=True)
