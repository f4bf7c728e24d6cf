"""Findings as SARIF 2.1.0, which code review tools show beside the line. Pure.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from environments.error_codes import find_code
from environments.redact import hide_accounts, redact
from environments.spec import EnvironmentSpec
from environments.yaml_tree import Lines
from policies.catalog import policies_of
from policies.places import path_of
from reconciler.core.canonical import Json
from reconciler.core.model.finding import Finding

_LEVELS = {"deny": "error", "warn": "warning", "info": "note"}


def sarif_of(findings: Sequence[Finding], lines: Lines, spec: EnvironmentSpec) -> Json:
    """Return one run with every finding, placed at the endpoint's or region's line of the environment file."""
    used = sorted({f.policy for f in findings})
    driver = {"name": "sluice", "informationUri": "https://sluice.dev", "rules": [_rule(id, spec) for id in used]}
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": f"sluice/{spec.environment}/"},
                "results": [_result(f, used.index(f.policy), lines, spec) for f in findings],
            }
        ],
    }


def _rule(id: str, spec: EnvironmentSpec) -> Json:
    """Return what is known of a policy, or of an error's code where a limit of this build speaks."""
    policy = next((each for each in policies_of(spec) if each.id == id), None)
    if policy:
        return _told(id, policy.title, policy.why, policy.fix)
    found = find_code(id)
    return _told(id, found.title, found.when, found.do) if found else {"id": id}


def _told(id: str, title: str, why: str, fix: str) -> Json:
    return {
        "id": id,
        "shortDescription": {"text": title},
        "fullDescription": {"text": why},
        "help": {"text": fix},
    }


def _result(finding: Finding, rule: int, lines: Lines, spec: EnvironmentSpec) -> Json:
    file, _, line = lines.where(path_of(finding, spec)).rpartition(":")
    place = {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": int(line) if line.isdigit() else 1}}
    return {
        "ruleId": finding.policy,
        "ruleIndex": rule,
        "level": _LEVELS[finding.level],
        "message": {"text": hide_accounts(redact(f"{finding.address}: {finding.message}"))},
        "locations": [{"physicalLocation": place}],
    }
