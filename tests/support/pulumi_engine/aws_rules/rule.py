"""What a rule is asked, and how rules are collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.pulumi_engine.aws_cloud import AwsCloud, Resource
from tests.support.pulumi_engine.wire import UNKNOWN, Properties

When = Literal["create", "delete"]
Check = Callable[["Asked"], str | None]


@dataclass(frozen=True)
class Asked:
    """A request to make or delete a resource, and the account as it is. `id` is empty for what is not made yet."""

    token: str
    inputs: Properties
    region: str
    cloud: AwsCloud
    id: str = ""

    def text(self, path: str) -> str:
        """Return a text at a dotted path of the inputs; empty where none is, or where it is not known."""
        value: Any = self.inputs
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value if isinstance(value, str) and value != UNKNOWN else ""

    def texts(self, path: str) -> list[str]:
        """Return the known texts of a list at a dotted path."""
        value: Any = self.inputs
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return [item for item in value or [] if isinstance(item, str) and item != UNKNOWN]

    def here(self, token: str) -> list[Resource]:
        """Return the resources of a type in the request's region, itself left out."""
        found = self.cloud.resources(token)
        return [r for r in found if r.region in (self.region, "") and not (r.token == self.token and r.id == self.id)]

    def by_id(self, token: str, identity: str) -> Resource | None:
        """Return a resource of this region by its id."""
        return next((r for r in self.here(token) if r.id == identity), None)

    def by_arn(self, token: str, arn: str) -> Resource | None:
        """Return a resource by its ARN, in whichever region."""
        return next((r for r in self.cloud.resources(token) if r.outputs.get("arn") == arn), None)


@dataclass(frozen=True)
class Rule:
    """A rule over the requests of one type; `source` is where AWS says so."""

    token: str
    when: When
    check: Check
    source: str

    @property
    def name(self) -> str:
        """Return the rule's name, which tests call it by."""
        return self.check.__name__


@dataclass
class Rules:
    """Collects the rules of a file by decoration."""

    found: list[Rule] = field(default_factory=list)

    def __call__(self, token: str, source: str, *, when: When = "create") -> Callable[[Check], Check]:
        """Register a function as a rule over `token`."""

        def registered(check: Check) -> Check:
            self.found.append(Rule(token, when, check, source))
            return check

        return registered


def refusal_of(rules: Iterable[Rule], asked: Asked, when: When) -> str | None:
    """Return what the first rule that refuses says, or nothing."""
    for rule in rules:
        if rule.token == asked.token and rule.when == when and (said := rule.check(asked)):
            return said
    return None
