"""What the block `policies`, and break-glass, say that does not fit: unknown ids, rules without an expression. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from environments.errors import nearest
from environments.policies import OWN_ID, parse_instant
from environments.raw import Check, Json, Path, block, items, texts

_OWN = re.compile(OWN_ID)
_OF_OWN = ("match", "validations", "variables")


def check_policies(check: Check, root: Json, known: Collection[str]) -> None:
    """Check every entry of `policies` and of `break_glass.policies` against the ids that there are."""
    declared = block(root.get("policies"))
    for policy, value in declared.items():
        path: Path = ("policies", policy)
        if "/" in str(policy):
            _check_own(check, path, str(policy), block(value))
        elif policy not in known:
            check.at(
                path, "SPEC-033", f'unknown policy "{policy}"', why="an override of nothing would look like a rule",
                do=f"{nearest(policy, known)}; one of your own is called NAMESPACE/NAME",
            )  # fmt: skip
        else:
            _refuse_rule(check, path, str(policy), block(value))
        for number, window in enumerate(items(block(value).get("windows"))):
            _check_window(check, (*path, "windows", number), block(window))
    for number, policy in enumerate(texts(block(root.get("break_glass")).get("policies"))):
        if policy not in known and policy not in declared:
            check.at(
                ("break_glass", "policies", number), "SPEC-056", f'break-glass names the unknown policy "{policy}"',
                why="it would open nothing, and look as if it did", do=nearest(policy, {*known, *map(str, declared)}),
            )  # fmt: skip


def _check_own(check: Check, path: Path, policy: str, value: Json) -> None:
    if not _OWN.fullmatch(policy):
        check.at(
            path, "SPEC-057", f'"{policy}" is no name for a policy of your own',
            do="write NAMESPACE/NAME in small letters, digits and hyphens, such as payments/long-bake",
        )  # fmt: skip
    elif not value.get("validations"):
        check.at(
            path, "SPEC-057", f"{policy} has no validations", why="a rule that asks nothing would look like one",
            do='add `validations: [{expression: "endpoint.rollout.bake_s >= 3600", message: "…"}]`',
        )  # fmt: skip


def _refuse_rule(check: Check, path: Path, policy: str, value: Json) -> None:
    given = [key for key in _OF_OWN if key in value]
    if given:
        check.at(
            path, "SPEC-057", f"{policy} is a policy of Sluice and takes no {' and no '.join(given)}",
            why="what a policy asks is written where everybody has it",
            do="give your own rule a name of the form NAMESPACE/NAME",
        )  # fmt: skip


def _check_window(check: Check, path: Path, window: Json) -> None:
    """Refuse a freeze without a time, or with half of one: it would never hold."""
    dated = [key for key in ("begins", "ends") if window.get(key)]
    if len(dated) == 1 or (dated and window.get("days")) or (not dated and not window.get("days")):
        check.at(
            path, "SPEC-058", "a freeze needs either `days` or both `begins` and `ends`",
            why="without them it would never hold, or for ever",
            do='write `days: [fri], start: "16:00"`, or `begins:` and `ends:` with a zone',
        )  # fmt: skip
    elif len(dated) == 2 and _backwards(window):
        check.at(path, "SPEC-058", "a freeze ends before it begins", do="exchange `begins` and `ends`")


def _backwards(window: Json) -> bool:
    try:
        return parse_instant(window["begins"]) >= parse_instant(window["ends"])
    except ValueError:
        return False  # the loader says what is wrong with a time
