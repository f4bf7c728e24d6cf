"""Infrastructure in a plan: its order, its words, and when what was done is not what was planned."""

from __future__ import annotations

import pytest

from environments.errors import SluiceError
from reconciler.core.model.finding import Finding
from reconciler.core.plan.infrastructure import (
    ResourceChange,
    StackPreview,
    differences,
    preview_from_json,
    project_order,
    summary,
)
from reconciler.operations.infrastructure import bring_up, previews

VPC = ResourceChange("urn:pulumi:dev::foundation::aws:ec2/vpc:Vpc::main", "create", "aws:ec2/vpc:Vpc")
TAGS = ResourceChange(VPC.urn, "update", VPC.type, ("tags",))
FAILS = SluiceError("INFRA-014", what="Pulumi ended with an error:\nno output of the foundation", do="mend it")


class Projects:
    """Projects with fixed previews; one that is an error fails. What is brought up is noted, and may differ."""

    def __init__(self, planned: dict[str, StackPreview | SluiceError], done: dict[str, StackPreview] | None = None):
        self.planned, self.done, self.built = planned, done or {}, list[str]()

    def projects(self) -> tuple[str, ...]:
        return tuple(self.planned)

    async def preview(self, project: str) -> StackPreview:
        found = self.planned[project]
        if isinstance(found, SluiceError):
            raise found
        return found

    async def bring_up(self, project: str) -> StackPreview:
        self.built.append(project)
        found = self.done.get(project) or self.planned[project]
        assert isinstance(found, StackPreview)
        return found


def test_projects_come_in_the_order_in_which_they_stand_on_each_other() -> None:
    names = ["serving", "zoo", "images", "attic", "platform", "foundation"]
    assert project_order(names) == ["images", "foundation", "platform", "serving", "attic", "zoo"]


def test_a_preview_is_said_in_one_line() -> None:
    other = ResourceChange(VPC.urn + "2", "create", VPC.type)
    assert summary(StackPreview("foundation", (VPC, other, TAGS))) == "2 create, 1 update"
    assert summary(StackPreview("foundation")) == "no change"
    assert summary(StackPreview("serving", unknown="it waits")) == "not known yet: it waits"


def test_its_json_is_read_back_without_findings_which_stand_with_the_plans_own() -> None:
    finding = Finding("NET-001", "deny", "dev/foundation/main", "open to the world")
    made = StackPreview("foundation", (TAGS,), (finding,))
    read = preview_from_json(made.to_json())
    assert read == made, "findings are compared with the plan's"
    assert read.findings == ()


@pytest.mark.parametrize(
    ("planned", "done", "said"),
    [
        ((VPC,), (VPC,), []),
        ((TAGS,), (ResourceChange(VPC.urn, "update", VPC.type, ("tags", "cidrBlock")),), []),
        ((VPC,), (), ["main: planned create, done nothing"]),
        ((), (VPC,), ["main: planned nothing, done create"]),
        ((TAGS,), (ResourceChange(VPC.urn, "replace", VPC.type),), ["main: planned update, done replace"]),
    ],
)
def test_what_was_done_otherwise_is_named(
    planned: tuple[ResourceChange, ...], done: tuple[ResourceChange, ...], said: list[str]
) -> None:
    assert differences(StackPreview("foundation", planned), StackPreview("foundation", done)) == said


async def test_a_project_that_waits_for_an_earlier_one_is_unknown() -> None:
    found = await previews(Projects({"foundation": StackPreview("foundation", (VPC,)), "serving": FAILS}))
    assert found[1].unknown == "it reads what comes first: no output of the foundation"


async def test_a_project_that_fails_by_itself_is_an_error() -> None:
    with pytest.raises(SluiceError, match="INFRA-014"):
        await previews(Projects({"foundation": StackPreview("foundation"), "serving": FAILS}))


async def test_only_what_changes_is_brought_up_and_in_order() -> None:
    planned = {n: StackPreview(n, (VPC,) if n != "platform" else ()) for n in ("foundation", "platform", "serving")}
    world, said = Projects({**planned}), list[str]()
    await bring_up(world, list(planned.values()), environment="dev", say=said.append)
    assert world.built == ["foundation", "serving"]
    assert said == ["dev/foundation: 1 create", "dev/serving: 1 create"]


async def test_nothing_more_is_brought_up_after_a_difference() -> None:
    planned = {n: StackPreview(n, (VPC,)) for n in ("foundation", "serving")}
    world = Projects({**planned}, {"foundation": StackPreview("foundation", (TAGS,))})
    with pytest.raises(SluiceError, match="INFRA-015"):
        await bring_up(world, list(planned.values()), environment="dev", say=lambda line: None)
    assert world.built == ["foundation"]


async def test_what_nobody_previewed_is_not_brought_up() -> None:
    world = Projects({"serving": StackPreview("serving", unknown="it waits")})
    with pytest.raises(SluiceError, match="INFRA-015"):
        await bring_up(world, [StackPreview("serving", unknown="it waits")], environment="dev", say=lambda line: None)
    assert world.built == []
