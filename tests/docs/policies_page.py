"""The reference of policies, made from the catalog."""

from __future__ import annotations

from collections.abc import Iterator

from policies.catalog import CATALOG
from policies.policy import KINDS, Policy

_HEAD = """# Policies

Rules over plans run in `sluice plan`, `apply` and `policy check`; rules over infrastructure run there and in
`pulumi preview`, as a CrossGuard pack. A file overrides a level in its block `policies`, with a reason, and each of
these shows up as POL-001. `sluice policy explain ID` prints one; [adding a policy](../adding/policy.md) says how.
"""
_SUBJECTS = {"plan": "Over plans and environment files", "infrastructure": "Over infrastructure"}


def policies_page() -> str:
    """Return docs/reference/policies.md."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for subject, title in _SUBJECTS.items():
        yield f"## {title}\n\n| id | asks for | why | fix | {' | '.join(KINDS)} |"
        yield "|---" * (4 + len(KINDS)) + "|"
        yield from (_row(policy) for policy in CATALOG if policy.subject == subject)
        yield ""


def _row(policy: Policy) -> str:
    levels = [policy.levels[kind] for kind in KINDS]
    cells = (f"**{policy.id}**", policy.title, policy.why, policy.fix, *levels)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
