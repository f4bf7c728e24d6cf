"""The gates that an endpoint may declare, one field of `GatesSpec` for each: the only place that lists them.

A field says all there is to say of a gate: its name, its settings, which of them are files, and where its code is. Its
place in the class is its place in the order in which gates are asked. Commands, checks, policies, the plan and the
rollout read `GATES`. docs/adding/gate.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, StringConstraints

from environments.kinds import Code, code_of
from environments.strict import Strict

FilePath = Annotated[str, StringConstraints(min_length=1)]


class EvalGateSpec(Strict):
    """The eval gate: a suite and the largest drop against the champion, as a share of cases."""

    suite: FilePath = Field(
        description="Path of the suite, from the folder of environments/ on; docs/eval.md has its keys."
    )
    max_drop: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.02, description="Largest drop against the champion, as a share of cases."
    )


class LoadGateSpec(Strict):
    """The load gate: a profile, the largest regression against the champion as a share, and the time for its rounds."""

    profile: FilePath = Field(
        description="Path of the profile, from the folder of environments/ on; docs/load.md has its keys."
    )
    max_regression: Annotated[float, Field(gt=0, lt=10)] = Field(
        0.10, description="Largest regression against the champion, as a share."
    )
    max_duration_s: Annotated[float, Field(gt=0, le=86400)] = Field(
        600, description="Seconds for its rounds; they end sooner when the verdict is clear."
    )


class GatesSpec(Strict):
    """The gates between a warm challenger and the first percent of traffic."""

    eval: Annotated[
        EvalGateSpec | None, Code("reconciler.gates.eval.gate:build", files=("suite",), speaks="openai")
    ] = Field(None, description="Evaluate challenger and champion on the same cases before any traffic moves.")
    load: Annotated[
        LoadGateSpec | None, Code("reconciler.gates.load_gate:build", files=("profile",), speaks="openai")
    ] = Field(None, description="Load both side by side before any traffic moves.")

    def declared(self) -> tuple[str, ...]:
        """Return the names of the gates that are declared, in the order in which they are asked."""
        return tuple(kind.name for kind in GATES if getattr(self, kind.name) is not None)


@dataclass(frozen=True)
class GateKind:
    """One kind of gate. `order` is its place among the gates, `files` are the settings that name files.

    `speaks` is the protocol in which it asks the release's server; empty for one that asks none.

    `build` is the text `MODULE:FUNCTION`; the function takes the environment's `RegistrySpec` and returns a
    `reconciler.ports.Gate`.
    """

    name: str
    order: int
    build: str
    files: tuple[str, ...]
    speaks: str = ""


def _kinds() -> tuple[GateKind, ...]:
    found = []
    for order, (name, field) in enumerate(GatesSpec.model_fields.items()):
        code = code_of(field)
        if code is None:
            raise TypeError(f"GatesSpec.{name} does not say where its code is")
        found.append(GateKind(name, order, code.at, code.files, code.speaks))
    return tuple(found)


GATES: tuple[GateKind, ...] = _kinds()
"""Every gate that this build knows, in the order in which they are asked."""

SPOKEN: Mapping[str, str] = MappingProxyType({"triton": "kserve", "vllm": "openai"})
"""The protocol that servers of each runtime speak with clients; a runtime's adapter says the same."""


def asks(gate: GateKind, runtime: str) -> bool:
    """Say whether a gate asks servers of a runtime before users do."""
    return gate.speaks == SPOKEN.get(runtime)
