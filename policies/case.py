"""Cases for policies: a file with edits, a plan's changes and facts, and the findings that have to come of it. Pure.

`sluice policy test` reads them from `*.cases.yaml` and gives them here with the environments that they name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from environments.errors import SluiceError, nearest
from environments.names import Address
from environments.policies import Instant, Level, Text
from environments.spec import EnvironmentSpec
from environments.yaml_tree import join_path, split_path
from policies.catalog import policies_of
from policies.facts import Facts
from policies.plans import judge
from policies.policy import OnPlan, PlanContext, Stage
from reconciler.core.model.finding import Finding
from reconciler.core.plan.change import Action, Change, FieldChange, MovesBy


class Block(BaseModel):
    """Base of the blocks: strict and frozen, like every block of the environment file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _name_alone(value: object) -> object:
    return {"endpoint": value} if isinstance(value, str) else value


def _id_alone(value: object) -> object:
    return {"policy": value} if isinstance(value, str) else value


class ChangeSpec(Block):
    """One change of the plan; `region` is the first of the endpoint's when left out."""

    endpoint: Text
    region: Text | None = None
    action: Literal["create", "rollout", "update", "remove"] = "rollout"
    moves_by: Literal["pointer", "weight", "warm_load", "cold_load", "new_nodes", "retire"] = "cold_load"


class ExpectedSpec(Block):
    """One finding that has to come: what is left out may be anything; `says` is a part of its message."""

    policy: Text
    level: Level | None = None
    address: Text | None = None
    says: Text | None = None


class CaseSpec(Block):
    """One case. `policies` are those whose findings count: the expected ones' when left out.

    In `edits` a dotted path gets a value; null takes the key away.
    """

    name: Text
    environment: Text | None = None
    now: Instant | None = None
    edits: dict[str, Any] = {}
    changes: list[Annotated[ChangeSpec, BeforeValidator(_name_alone)]] = []
    facts: Facts | None = None
    stage: Stage = "plan"
    policies: list[Text] = []
    expect: list[Annotated[ExpectedSpec, BeforeValidator(_id_alone)]]


class CaseFileSpec(Block):
    """One file of cases; `environment` (a path from the file on) and `now` are those of cases without their own."""

    environment: Text | None = None
    now: Instant = datetime(2026, 1, 1, tzinfo=UTC)
    cases: Annotated[list[CaseSpec], Field(min_length=1)]


@dataclass(frozen=True)
class Outcome:
    """How a case ended: `lacking` are expected findings that did not come, `extra` ones that nobody expected."""

    name: str
    lacking: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Return whether the policies said what they should."""
        return not self.lacking and not self.extra


def case_file_of(data: Any, where: str) -> CaseFileSpec:
    """Return the cases in a file's plain data.

    Raises:
        SluiceError: `POL-009` it is not a file of cases.
    """
    try:
        return CaseFileSpec.model_validate(data)
    except ValidationError as error:
        raise _malformed(where, error) from error


def run_case(case: CaseSpec, spec: EnvironmentSpec, *, now: datetime, where: str) -> Outcome:
    """Return what came of a case over an environment.

    Raises:
        SluiceError: `POL-009` its edits or its policies do not fit, `POL-002` a policy that does not exist.
    """
    edited = edited_spec(spec, case.edits, where=f"{where}: {case.name}")
    looked_at = _policies(case, edited, where)
    found = [f for f in judge(_context(case, edited, now)) if f.policy in looked_at]
    lacking, extra = _compared(case.expect, found)
    return Outcome(case.name, tuple(map(_wanted, lacking)), tuple(map(_shown, extra)))


def edited_spec(spec: EnvironmentSpec, edits: Mapping[str, Any], *, where: str) -> EnvironmentSpec:
    """Return an environment with the values at dotted paths replaced; None takes the key away.

    Raises:
        SluiceError: `POL-009` a path leads nowhere, or what comes of it is no environment.
    """
    data = deepcopy(spec.model_dump(mode="python"))
    for path, value in edits.items():
        _edit(data, path, value, where)
    try:
        return EnvironmentSpec.model_validate(data)
    except ValidationError as error:
        raise _malformed(where, error) from error


def _edit(data: Any, path: str, value: Any, where: str) -> None:
    *parents, last = split_path(path)
    block = data
    try:
        for part in parents:
            block = block[part]
            if block is None:
                raise KeyError(part)
        if value is None:
            del block[last]
        else:
            block[last] = value
    except (KeyError, IndexError, TypeError) as error:
        raise SluiceError(
            "POL-009", where=where, what=f"there is nothing at {path}", do="correct the path of the edit"
        ) from error


def _policies(case: CaseSpec, spec: EnvironmentSpec, where: str) -> frozenset[str]:
    """Return whose findings count; a case that could not fail is refused."""
    named = frozenset(case.policies) | {each.policy for each in case.expect}
    known = {policy.id: policy for policy in policies_of(spec)}
    place = f"{where}: {case.name}"
    if not named:
        raise SluiceError(
            "POL-009", where=place, what="it expects nothing of nobody", why="such a case cannot fail",
            do="name the policies that must be silent: `policies: [ID]`",
        )  # fmt: skip
    for id in sorted(named):
        if id not in known and not id.startswith("POL-"):
            what = f'there is no policy "{id}"'
            raise SluiceError("POL-002", where=place, what=what, do=f"name one of them ({nearest(id, known)})")
        rule = known[id].rule if id in known else None
        if isinstance(rule, OnPlan) and rule.needs and case.facts is None:
            raise SluiceError(
                "POL-009", where=place, what=f"{id} is not asked without facts", why="such a case cannot fail",
                do="give it `facts: {}` and what it needs of them",
            )  # fmt: skip
    return named


def _context(case: CaseSpec, spec: EnvironmentSpec, now: datetime) -> PlanContext:
    changes = tuple(_change(each, spec) for each in case.changes)
    touched = {each.address.endpoint for each in changes}
    names = tuple(name for name in sorted(spec.endpoints) if not touched or name in touched)
    return PlanContext(spec, names, changes, case.now or now, case.facts, case.stage)


def _change(declared: ChangeSpec, spec: EnvironmentSpec) -> Change:
    name = declared.endpoint
    region = declared.region or next(iter(spec.regions_of(name) if name in spec.endpoints else spec.regions))
    fields = (FieldChange("model", "before", "after"),)
    address = Address(spec.environment, region, name)
    release = None if declared.action == "remove" else f"{name}-0123456789"
    return Change(address, Action(declared.action), fields, MovesBy(declared.moves_by), release)


def _compared(expected: Sequence[ExpectedSpec], found: Sequence[Finding]) -> tuple[list[ExpectedSpec], list[Finding]]:
    """Return what is expected and did not come, and what came unexpected; each finding counts once."""
    lacking, rest = [], list(found)
    for each in sorted(expected, key=_vague):
        match = next((f for f in rest if _fits(each, f)), None)
        if match is None:
            lacking.append(each)
        else:
            rest.remove(match)
    return lacking, rest


def _vague(each: ExpectedSpec) -> int:
    return -sum(part is not None for part in (each.level, each.address, each.says))


def _fits(expected: ExpectedSpec, found: Finding) -> bool:
    pairs = ((expected.policy, found.policy), (expected.level, found.level), (expected.address, found.address))
    return all(want in (None, have) for want, have in pairs) and (expected.says or "") in found.message


def _wanted(each: ExpectedSpec) -> str:
    said = f' saying "{each.says}"' if each.says else ""
    return " ".join(part for part in (each.policy, each.level, each.address) if part) + said


def _shown(found: Finding) -> str:
    return f"{found.policy} {found.level} {found.address}: {found.message}"


def _malformed(where: str, error: ValidationError) -> SluiceError:
    wrong = "; ".join(_problems(error))
    return SluiceError("POL-009", where=where, what=wrong, do="docs/reference/policy-tests.md has every key of a case")


def _problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False, include_input=False)[:5]:
        yield f"{join_path(tuple(item['loc'])) or 'the file'}: {item['msg'][:1].lower()}{item['msg'][1:]}"
