"""Every code that an error or a finding of Sluice's own can have: what it means, when it appears, what to do.

Nothing imports this to raise an error: `sluice policy explain CODE` and docs/reference/errors.md read it, and a test
compares it with the codes in the source. Policies are not here; they explain themselves in `policies.catalog`.
"""

from __future__ import annotations

from environments.error_codes import declared, evidence, kubernetes, running, signing
from environments.error_codes.code import ErrorCode

AREAS: tuple[tuple[str, str], ...] = (
    ("SPEC", "The environment file"),
    ("FILE", "Files that the environment file names"),
    ("POL", "Policies"),
    ("POLICY", "Policies"),
    ("INFRA", "What the Pulumi stacks need"),
    ("CLI", "The command line"),
    ("INIT", "A repository of one's own"),
    ("PLAN", "Plans"),
    ("APPLY", "Applying a plan"),
    ("APPR", "Approvals"),
    ("SIGN", "Keys that sign"),
    ("PRICE", "Prices of machines"),
    ("BUILD", "What this build has no adapter for"),
    ("ROLL", "Rollouts and rollbacks"),
    ("GATE", "Gates"),
    ("EVAL", "The eval gate"),
    ("LOAD", "The load gate and the load engine"),
    ("JUDGE", "The canary judge"),
    ("METRIC", "Metric sources"),
    ("REG", "Registries"),
    ("RUN", "Runtimes"),
    ("PLAT", "Platforms"),
    ("KUBE", "The client of Kubernetes"),
    ("PTR", "Flag documents"),
    ("STORE", "The store"),
    ("LEASE", "Leases"),
    ("LEDGER", "The ledger"),
    ("ENG", "Installing vLLM for CPU"),
    ("DEMO", "The demo"),
    ("INTERNAL", "Defects of Sluice"),
)
"""Prefixes of codes → what they are about, in the order of the reference page."""

_ROWS = (*declared.ROWS, *running.ROWS, *kubernetes.ROWS, *signing.ROWS, *evidence.ROWS)
REGISTRY: dict[str, ErrorCode] = {row[0]: ErrorCode(*row) for row in sorted(_ROWS)}
if len(REGISTRY) != len(_ROWS):
    raise ValueError("a code is declared twice in environments/error_codes")


def find_code(code: str) -> ErrorCode | None:
    """Return what is known of a code, None when no error has it."""
    return REGISTRY.get(code)
