"""Previews and brings up an environment's Pulumi projects with the real engine, by Pulumi's Automation API.

Imports `pulumi.automation` when it is asked. The stack of each project is called like the environment; the policy pack
beside the projects is run with them, so that its findings stand in the plan.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.errors import SluiceError
from environments.redact import redact
from reconciler.core.model.finding import Finding
from reconciler.core.plan.infrastructure import ResourceChange, StackPreview, project_order
from reconciler.core.plan.machines import Machines, machines_of

if TYPE_CHECKING:
    from pulumi.automation import Stack
    from pulumi.automation.events import EngineEvent, StepEventMetadata, StepEventStateMetadata

_KEPT_LINES = 8
# A replacement is one change to a reader, and several steps to the engine.
_PARTS = {"create-replacement": "replace", "delete-replaced": "", "discard-replaced": "", "remove-pending-replace": ""}
_LEVELS = {"mandatory": "deny", "remediate": "deny", "advisory": "warn", "warning": "warn"}


class PulumiProjects:
    """The projects below a folder, for the stack of one environment."""

    def __init__(self, folder: Path, environment: str) -> None:
        self._folder, self._environment = folder / "stacks", environment
        self._pack = folder / "policies"

    def projects(self) -> tuple[str, ...]:
        """Return the folders with a `Pulumi.yaml`.

        Raises:
            SluiceError: `INFRA-011` there are none.
        """
        found = project_order(file.parent.name for file in self._folder.glob("*/Pulumi.yaml"))
        if not found:
            raise SluiceError(
                "INFRA-011",
                where=str(self._folder),
                what="there is no Pulumi project here",
                why="--infra previews the projects in stacks/, beside environments/",
                do="leave --infra out, or write them: sluice init",
            )
        return tuple(found)

    async def preview(self, project: str) -> StackPreview:
        """Run `pulumi preview`."""
        return await asyncio.to_thread(self._run, project, "preview")

    async def bring_up(self, project: str) -> StackPreview:
        """Run `pulumi up`."""
        return await asyncio.to_thread(self._run, project, "up")

    def _run(self, project: str, verb: str) -> StackPreview:
        stack, heard = self._stack(project), _Heard(self._environment, project)
        packs = [str(self._pack)] if (self._pack / "PulumiPolicy.yaml").is_file() else None
        # Without `suppress_outputs` the API prints a stack's outputs into its own log.
        options: dict[str, Any] = {"policy_packs": packs, "on_event": heard.event, "color": "never"}
        with _coded(self._environment, project, heard):
            try:
                (stack.preview if verb == "preview" else stack.up)(**options)
            except Exception:
                # A denied preview ends with an error; what it found is what a plan is to say.
                if verb != "preview" or not heard.denied:
                    raise
        return heard.preview()

    def _stack(self, project: str) -> Stack:
        try:
            from pulumi import automation
        except ImportError as error:
            raise SluiceError(
                "INFRA-012",
                where=f"{self._environment}/{project}",
                what="the package pulumi is not installed",
                why="--infra runs `pulumi preview`",
                do="pip install 'sluice[pulumi]'",
            ) from error
        with _coded(self._environment, project, _Heard(self._environment, project)):
            return automation.select_stack(self._environment, work_dir=str(self._folder / project))


class _Heard:
    """What the engine said while it worked: a change a resource, what policies found, what went wrong."""

    def __init__(self, environment: str, project: str) -> None:
        self._environment, self._project = environment, project
        self._changes: dict[str, ResourceChange] = {}
        self._findings: set[Finding] = set()
        self.errors: list[str] = []

    def event(self, event: EngineEvent) -> None:
        """Take one event."""
        if event.resource_pre_event:
            self._step(event.resource_pre_event.metadata)
        if event.policy_event:
            told = event.policy_event
            name = (told.resource_urn or self._project).rpartition("::")[2]
            level = _LEVELS.get(told.enforcement_level, "deny")
            address = f"{self._environment}/{self._project}/{name}"
            self._findings.add(Finding(told.policy_name, level, address, redact(told.message.strip())))
        if event.diagnostic_event and event.diagnostic_event.severity == "error":
            self.errors += [line for line in redact(event.diagnostic_event.message).splitlines() if line.strip()]

    @property
    def denied(self) -> bool:
        """Return whether a policy denies what was previewed."""
        return any(finding.level == "deny" for finding in self._findings)

    def preview(self) -> StackPreview:
        """Return all of it, sorted."""
        return StackPreview(self._project, tuple(sorted(self._changes.values())), tuple(sorted(self._findings)))

    def _step(self, step: StepEventMetadata) -> None:
        op = _PARTS.get(step.op.value, step.op.value)
        if op in ("", "same", "read") or step.type == "pulumi:pulumi:Stack":
            return
        fields = sorted(step.detailed_diff or step.diffs or ()) if op in ("update", "replace") else ()
        before, after = (_machines(step.type, state) for state in (step.old, step.new))
        if op == "delete":
            after = ()
        if op == "create":
            before = ()
        self._changes[step.urn] = ResourceChange(step.urn, op, step.type, tuple(fields), before, after)


def _machines(kind: str, state: StepEventStateMetadata | None) -> tuple[Machines, ...]:
    return machines_of(kind, state.inputs or {}, state.provider or "") if state else ()


class _coded:
    """Turns what Pulumi raises into our own errors; used as `with`."""

    def __init__(self, environment: str, project: str, heard: _Heard) -> None:
        self._where, self._environment, self._heard = f"{environment}/{project}", environment, heard

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception):
            return
        from pulumi.automation import CommandError, StackNotFoundError

        if isinstance(error, FileNotFoundError):
            raise self._refusal(
                "INFRA-012", "there is no `pulumi` on this machine", "--infra runs it", "sluice doctor"
            ) from error
        if isinstance(error, StackNotFoundError):
            do = f"pulumi stack init {self._environment}, in that project's folder (docs/adopt.md, step 1)"
            raise self._refusal("INFRA-013", "the project has no such stack", "it was never made", do) from error
        if isinstance(error, CommandError):
            said = "\n".join(self._heard.errors[-_KEPT_LINES:]) or redact(_last_lines(str(error)))
            do = "mend what it names; `pulumi preview` in that folder shows all of it"
            raise self._refusal("INFRA-014", f"Pulumi ended with an error:\n{said}", "", do) from error

    def _refusal(self, code: str, what: str, why: str, do: str) -> SluiceError:
        return SluiceError(code, where=self._where, what=what, why=why or "its program or a provider refused", do=do)


def _last_lines(text: str) -> str:
    return "\n".join([line for line in text.splitlines() if line.strip()][-_KEPT_LINES:])
