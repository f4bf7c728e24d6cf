"""Policies of an environment's own, written in CEL in its file; shaped as Kubernetes' ValidatingAdmissionPolicy. Pure.

Source: kubernetes.io, "Validating Admission Policy" (`validations`, `variables`, `messageExpression`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from environments.policies import PolicyMatchSpec, PolicyOverride, ValidationSpec
from environments.redact import redact
from environments.spec import EnvironmentSpec
from policies.cel import CelError, holds, plain, says, value_of
from policies.policy import KINDS, Hit, OnPlan, PlanContext, Policy, Unasked
from reconciler.core.canonical import Json
from reconciler.core.plan.change import change_to_json

_ELSEWHERE: Json = {"name": "", "address": "", "endpoint": {}, "release": {}}


def is_own(policy_id: str) -> bool:
    """Say whether a policy is the environment's own: `NAMESPACE/NAME`."""
    return "/" in policy_id


def own_policies(spec: EnvironmentSpec) -> tuple[Policy, ...]:
    """Return the policies that an environment file adds, sorted by id."""
    return tuple(_policy(id, declared) for id, declared in sorted(spec.policies.items()) if is_own(id))


def _policy(id: str, declared: PolicyOverride) -> Policy:
    return Policy(
        id=id,
        title=next((v.message for v in declared.validations or [] if v.message), f"The rule {id}"),
        why=declared.reason or "this environment asks for it",
        fix=f"keep what policies.{id} of the environment file asks for",
        rule=OnPlan(partial(_check, id, declared)),
        levels=MappingProxyType(dict.fromkeys(KINDS, declared.level)),
    )


def _check(id: str, declared: PolicyOverride, context: PlanContext) -> Iterator[Hit]:
    for validation in declared.validations or []:
        for address, names in _subjects(declared.match or PolicyMatchSpec(), context):
            yield from _hit(declared, validation, address, names)


def _hit(declared: PolicyOverride, validation: ValidationSpec, address: str, names: Json) -> Iterator[Hit]:
    try:
        given = names | {"variables": _variables(declared, names)}
        if not holds(validation.expression, given):
            yield address, redact(_message(validation, given))
    except CelError as error:
        yield address, Unasked(redact(str(error)))


def _variables(declared: PolicyOverride, names: Json) -> Json:
    """Return the declared names with their values; each may use those before it."""
    found: Json = {}
    for variable in declared.variables or []:
        found[variable.name] = value_of(variable.expression, names | {"variables": dict(found)})
    return found


def _message(validation: ValidationSpec, given: Mapping[str, Any]) -> str:
    if validation.messageExpression:
        return says(validation.messageExpression, given)
    return validation.message or f"it does not hold that {validation.expression}"


def _subjects(match: PolicyMatchSpec, context: PlanContext) -> Iterator[tuple[str, Json]]:
    """Yield address and names of everything that a policy is asked about."""
    shared = _shared(context)
    if match.over == "plan":
        if _acts(match, context, None):
            yield context.spec.environment, shared | _ELSEWHERE
        return
    for address, endpoint in context.each():
        name = address.rpartition("/")[2]
        wanted = (not match.endpoints or name in match.endpoints) and (not match.teams or endpoint.team in match.teams)
        if wanted and _acts(match, context, name):
            facts = context.known().releases.get(name)
            yield (
                address,
                shared
                | {
                    "name": name,
                    "address": address,
                    "endpoint": plain(endpoint.model_dump(mode="json", exclude_none=True)),
                    "release": plain(facts.model_dump(mode="json")) if facts else {},
                },
            )


def _acts(match: PolicyMatchSpec, context: PlanContext, name: str | None) -> bool:
    """Say whether a plan does one of the actions that a policy is about; with a file alone, every policy is asked."""
    if not match.actions or not context.changes:
        return True
    return any(str(c.action) in match.actions for c in context.changes if name in (None, c.address.endpoint))


def _shared(context: PlanContext) -> Json:
    # The store's address may hold a password, and what an expression sees it may also say.
    environment = context.spec.model_dump(mode="json", exclude={"store", "registry"}, exclude_none=True)
    facts = context.facts.model_dump(mode="json") if context.facts else {}
    return {
        "plan": {
            "environment": context.spec.environment,
            "stage": context.stage,
            "endpoints": list(context.endpoints),
            "changes": [plain(change_to_json(change)) for change in context.changes],
        },
        "environment": plain(environment),
        "facts": plain(facts),
        **({"now": context.now} if context.now else {}),
    }
