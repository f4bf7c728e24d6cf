"""What a policy is: an id, words for people, a level for each kind of environment, and a pure rule. Pure.

Rule modules declare policies; `policies.catalog` collects them; `policies.plans` and the CrossGuard pack run them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from environments.policies import Level, PolicyOverride
from environments.prices import PriceBook
from environments.spec import EndpointSpec, EnvironmentSpec
from policies.facts import Facts
from reconciler.core.plan.change import Action, Change
from reconciler.core.plan.memory import ReleaseMemory

Kind = Literal["dev", "staging", "prod", "other"]
KINDS: tuple[Kind, ...] = ("dev", "staging", "prod", "other")
Subject = Literal["infrastructure", "plan"]
Stage = Literal["plan", "apply"]
Hit = tuple[str, str]
"""What a rule found: what it is about (an address, a URN, or "" for all of it) and a message."""


class NotKnown(str):
    """The message of a rule that could not tell: it is a finding all the same, and says why nobody knows."""

    def __new__(cls, what: str, because: str) -> NotKnown:
        """Return the message: what is not known, and because of what."""
        return super().__new__(cls, f"{what} is not known, because {because}")


class Unasked(str):
    """The message of a rule that could not be asked at all: a missing library, an expression that does not hold."""


@dataclass(frozen=True)
class Resource:
    """One Pulumi resource as a program declared it, with the engine's camelCase names.

    Values that are not known before `up` are `policies.values.UNKNOWN`; `depends_on` holds URNs.
    """

    type: str
    name: str
    props: Mapping[str, Any]
    urn: str = ""
    depends_on: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StackContext:
    """The environment that a stack belongs to, which is the one of its name."""

    spec: EnvironmentSpec

    @property
    def kind(self) -> Kind:
        """Return which levels apply."""
        return kind_of(self.spec.environment)


@dataclass(frozen=True)
class Need:
    """What a plan knows besides file and changes: the memory of each release that it loads, and what machines cost.

    Without prices, rules about money are silent.
    """

    memory: tuple[ReleaseMemory, ...] = ()
    prices: PriceBook | None = None


@dataclass(frozen=True)
class PlanContext:
    """What rules over plans see. `endpoints` are the names to judge: those that a plan touches, or all.

    `now` is None when only the file is judged: rules about time are silent then. `facts` is None when nobody read
    anything but the file: rules that need them (`OnPlan.needs`) are not asked then. `stage` is `apply` when the plan is
    about to be carried out. `levels` are those in force here, by policy; off is left out.
    `need` is what a plan knows of GPUs and prices.
    """

    spec: EnvironmentSpec
    endpoints: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    now: datetime | None = None
    facts: Facts | None = None
    stage: Stage = "plan"
    levels: Mapping[str, Level] = field(default_factory=dict)
    need: Need | None = None

    def each(self) -> Iterable[tuple[str, EndpointSpec]]:
        """Yield the address and the declaration of every endpoint to judge."""
        for name in self.endpoints:
            yield endpoint_address(self.spec, name), self.spec.endpoints[name]

    def moving(self) -> Iterable[tuple[str, EndpointSpec]]:
        """Yield address and declaration of every endpoint that gets another release, or its first."""
        names = {c.address.endpoint for c in self.changes if c.action in (Action.CREATE, Action.ROLLOUT)}
        for name in self.endpoints:
            if name in names:
                yield endpoint_address(self.spec, name), self.spec.endpoints[name]

    def known(self) -> Facts:
        """Return the facts, for rules that say that they need them."""
        return self.facts or Facts()

    def set_here(self, policy_id: str) -> PolicyOverride | None:
        """Return what the file says of a policy: its level and its parameters."""
        return self.spec.policies.get(policy_id)


@dataclass(frozen=True)
class OnResource:
    """A rule over one resource; it is asked about resources of `types` only."""

    types: frozenset[str]
    check: Callable[[Resource, StackContext], Iterable[str]]


@dataclass(frozen=True)
class OnStack:
    """A rule over all resources of a stack; what it finds is about a URN, or the stack when that is empty."""

    check: Callable[[Sequence[Resource], StackContext], Iterable[Hit]]


@dataclass(frozen=True)
class OnPlan:
    """A rule over an environment file and the changes of a plan.

    `needs` says that it is about facts that a file alone does not have.
    """

    check: Callable[[PlanContext], Iterable[Hit]]
    needs: bool = False


Rule = OnResource | OnStack | OnPlan


def levels(*, dev: Level, staging: Level, prod: Level, other: Level | None = None) -> Mapping[str, Level]:
    """Return a level for each kind of environment; `other` is dev's unless it is given."""
    return MappingProxyType({"dev": dev, "staging": staging, "prod": prod, "other": other or dev})


@dataclass(frozen=True)
class Policy:
    """One policy. `levels` has one of deny, warn, info and off for each kind of environment.

    `place` is the path below an endpoint, region or pool whose line a finding is about; "" is all of it. `reads` are
    the parameters that an environment file may give it. `unknown` is the highest level of what it could not tell; None
    is its own, so that a policy that denies does so where nothing is known.
    """

    id: str
    title: str
    why: str
    fix: str
    rule: Rule = field(repr=False)
    levels: Mapping[str, Level]
    place: str = ""
    reads: tuple[str, ...] = ()
    unknown: Level | None = None

    @property
    def subject(self) -> Subject:
        """Return what it judges."""
        return "plan" if isinstance(self.rule, OnPlan) else "infrastructure"

    def default_level(self, spec: EnvironmentSpec) -> Level:
        """Return the level that it has in this kind of environment."""
        return self.levels[kind_of(spec.environment)]

    def level(self, spec: EnvironmentSpec) -> Level:
        """Return the level in force: the environment file's, or the default."""
        override = spec.policies.get(self.id)
        return override.level if override else self.default_level(spec)


def kind_of(environment: str) -> Kind:
    """Return the kind of an environment: `prod` and `prod-eu` are prod, `local` is other."""
    for kind in KINDS:
        if environment == kind or environment.startswith(f"{kind}-"):
            return kind
    return "other"


def endpoint_address(spec: EnvironmentSpec, endpoint: str) -> str:
    """Return the address of an endpoint in all its regions: `prod/*/chat`."""
    return f"{spec.environment}/*/{endpoint}"
