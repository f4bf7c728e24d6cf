"""What AWS refuses although every input has the right type: one function a rule, each with its source.

A rule returns what AWS says, or None. `refusal` asks all rules of a type; `RULES` is the list of them.
"""

from __future__ import annotations

from tests.support.pulumi_engine.aws_rules import cluster, deletion, identity, images, money, network, state
from tests.support.pulumi_engine.aws_rules.rule import Asked, Rule, When, refusal_of

RULES: tuple[Rule, ...] = tuple(
    rule for area in (network, cluster, identity, money, state, images, deletion) for rule in area.RULES.found
)


__all__ = ["RULES", "Asked", "Rule", "When", "refusal"]


def refusal(asked: Asked, when: When) -> str | None:
    """Return the first refusal of a request, or nothing."""
    return refusal_of(RULES, asked, when)
