"""Judge Pulumi resources. Pure; the CrossGuard pack and the tests call it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from policies.asking import findings_of
from policies.catalog import CATALOG
from policies.policy import Hit, OnPlan, OnResource, OnStack, Policy, Resource, StackContext
from reconciler.core.model.finding import Finding


def hits(policy: Policy, resources: Sequence[Resource], context: StackContext) -> Iterable[Hit]:
    """Yield what one policy finds in these resources: URN and message. Policies over plans find nothing here."""
    match policy.rule:
        case OnResource(types=types, check=check):
            for resource in resources:
                if resource.type in types:
                    yield from ((resource.urn or resource.name, message) for message in check(resource, context))
        case OnStack(check=check):
            yield from check(resources, context)
        case OnPlan():
            return


def check_resources(resources: Sequence[Resource], context: StackContext) -> tuple[Finding, ...]:
    """Return everything that the policies find in a stack at the levels of its environment, sorted."""
    return tuple(sorted(set(_judged(resources, context))))


def _judged(resources: Sequence[Resource], context: StackContext) -> Iterator[Finding]:
    for policy in CATALOG:
        yield from findings_of(policy, context.spec, partial(hits, policy, resources, context))
