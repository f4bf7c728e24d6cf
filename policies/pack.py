"""The bridge to CrossGuard: the engine's resources go to the rules of the catalog, and their findings back.

Imports the catalog and `environments`; pulumi-policy only inside functions. `policies.serve` serves what
`pack_policies` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from environments.find import find
from environments.load import load
from policies.asking import RAISED, raised_words
from policies.catalog import CATALOG, OVERRIDE, known_ids, override_findings
from policies.policy import OnPlan, OnResource, OnStack, Policy, Resource, StackContext
from policies.values import UNKNOWN

HERE = Path(__file__).parent
T = TypeVar("T")

if TYPE_CHECKING:
    from pulumi_policy import EnforcementLevel, ReportViolation, ResourceValidationArgs, StackValidationArgs
    from pulumi_policy import Policy as PackPolicy


def context_of(stack: str, pack: Path = HERE) -> StackContext:
    """Return the environment of a stack's name; `ORG/PROJECT/STACK` is understood. `pack` is the pack's folder.

    Raises:
        SluiceError: `SPEC-…` there is no such file, or it is wrong.
    """
    path = find(stack.rpartition("/")[2], start=pack)
    return StackContext(load(path, policy_ids=known_ids(), unset="keep").spec)


def plain(value: Any) -> Any:
    """Return the engine's guarded properties as dicts and lists, with UNKNOWN for what `up` will fill in."""
    from pulumi_policy.proxy import _is_unknown

    if isinstance(value, Mapping):
        target = value["__target"] if type(value) is not dict else value
        return {key: plain(inner) for key, inner in target.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        target = value["__target"] if not isinstance(value, list | tuple) else value  # type: ignore[call-overload]
        return [plain(inner) for inner in target]
    return UNKNOWN if _is_unknown(value) else value


def pack_policies(context: StackContext) -> list[PackPolicy]:
    """Return the catalog's infrastructure policies as CrossGuard wants them, and POL-001 for overrides."""
    from pulumi_policy import EnforcementLevel, StackValidationPolicy

    def overrides(args: StackValidationArgs, report: ReportViolation) -> None:
        for finding in override_findings(context.spec):
            report(finding.message, None)

    shown = StackValidationPolicy(
        name=OVERRIDE,
        description="Levels that the environment file overrides",
        validate=overrides,
        enforcement_level=EnforcementLevel.ADVISORY,
    )
    wrapped = [_wrapped(policy, context) for policy in CATALOG]
    return [*(policy for policy in wrapped if policy), *([shown] if context.spec.policies else [])]


def _wrapped(policy: Policy, context: StackContext) -> PackPolicy | None:
    from pulumi_policy import ResourceValidationPolicy, StackValidationPolicy

    description = f"{policy.title}: {policy.why}. To fix it: {policy.fix}."
    level = enforcement(policy.level(context.spec))
    match policy.rule:
        case OnResource(types=types, check=check):

            def on_resource(args: ResourceValidationArgs, report: ReportViolation) -> None:
                if args.resource_type in types:
                    for message in asked(policy, lambda: check(_seen(args), context), lambda words: words):
                        report(message, None)

            return ResourceValidationPolicy(policy.id, description, on_resource, level)
        case OnStack(check=check_all):

            def on_stack(args: StackValidationArgs, report: ReportViolation) -> None:
                hits = asked(
                    policy,
                    lambda: check_all([_resource(r) for r in args.resources], context),
                    lambda words: ("", words),
                )
                for urn, message in hits:
                    report(message, urn or None)

            return StackValidationPolicy(policy.id, description, on_stack, level)
        case OnPlan():
            return None


def asked(policy: Policy, check: Callable[[], Iterable[T]], broken: Callable[[str], T]) -> list[T]:
    """Return what a rule finds; one that raises is a finding `POL-003` at the policy's level, so a denial still stops.

    Otherwise the engine would end at the first rule that breaks, and nobody would hear of the others.
    """
    try:
        return list(check())
    except Exception as error:  # noqa: BLE001 - a rule may raise anything, and must not take the others with it
        return [broken(f"{RAISED}: {raised_words(policy, error)}; it has judged nothing, so this is a violation")]


def _seen(args: ResourceValidationArgs) -> Resource:
    return Resource(args.resource_type, args.name, plain(args.props), args.urn)


def _resource(given: Any) -> Resource:
    """Return a resource of a whole stack, with what it depends on by any property."""
    depends_on = {other.urn for other in given.dependencies}
    depends_on |= {other.urn for others in given.property_dependencies.values() for other in others}
    return Resource(given.resource_type, given.name, plain(given.props), given.urn, frozenset(depends_on))


def enforcement(level: str) -> EnforcementLevel:
    """Return what CrossGuard does at a level: deny stops, warn and info are shown, off is not asked."""
    from pulumi_policy import EnforcementLevel

    match level:
        case "deny":
            return EnforcementLevel.MANDATORY
        case "off":
            return EnforcementLevel.DISABLED
        case _:
            return EnforcementLevel.ADVISORY
