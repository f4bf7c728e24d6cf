"""What a release is made of and what points to it: registries and prompt pointers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from environments.refs import Ref
from reconciler.core.model.release import Artifact, Lineage


@dataclass(frozen=True)
class Resolved:
    """What a registry knows of a reference. `text` is a prompt's content, None for everything else."""

    artifact: Artifact
    lineage: Lineage
    text: str | None = None


class Registry(Protocol):
    """Turns references into digests and lineage."""

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return digest and lineage; `kind` is `model`, `adapter`, `prompt`, `index`, `guardrails`, or `repository`:
        a model as Triton serves it.

        Raises:
            SluiceError: `REG-001` no such thing, `REG-002` refused (pickled weights),
                `REG-003` out of reach (retryable).
        """
        ...

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Point `alias` at `ref` and return the reference that had it before, None if none or not supported."""
        ...


class Files(Protocol):
    """Finds the bytes of artifacts by reference and digest; where they lie is nobody else's business."""

    async def folder(self, artifact: Artifact, *, kind: str) -> Path:
        """Return a folder that holds what the artifact's digest says, and goes on holding it whatever its source does.

        Raises:
            SluiceError: `REG-006` nothing here has that digest any more; and what `Registry.resolve` raises.
        """
        ...

    async def keep(self, digests: Collection[str]) -> None:
        """Let go of what is kept for other digests than these; some that were used last may stay."""
        ...


@dataclass(frozen=True)
class DrawnRelease:
    """A release that users of an endpoint may be given: its share of them, and the texts of its prompts by name."""

    release: str
    share_pct: float
    prompts: Mapping[str, str]


@dataclass(frozen=True)
class ReleaseSplit:
    """How the users of one endpoint are drawn between its releases: one draw for slot and prompts.

    Shares add up to 100. The challenger comes first, so that users who have it keep it while its share grows, and the
    champion last: whoever does not ask for a draw has its prompts. `seed` (the rollout's id) decides who is first.
    """

    endpoint: str
    releases: tuple[DrawnRelease, ...]
    seed: str


class Pointers(Protocol):
    """The flag document of one region that says which user gets which release, and so which prompts."""

    @property
    def resolution_pct(self) -> float:
        """Return the smallest step of a share that the document can hold: what is read back is no further off."""
        ...

    def spread(self, endpoint: str) -> str | None:
        """Return in words where applications find an endpoint's flags and how long a change takes to reach them.

        None where they have it at once.
        """
        ...

    async def read(self) -> tuple[ReleaseSplit, ...]:
        """Return what is published, sorted by endpoint; flags that are not ours are passed over.

        Raises:
            SluiceError: `PTR-001` unreadable (retryable), `PTR-002` damaged.
        """
        ...

    async def publish(self, endpoint: str, split: ReleaseSplit | None, *, fence: int) -> None:
        """Replace the split of one endpoint, or take it away, in one atomic write; everything else stays as it is.

        Raises:
            SluiceError: `PTR-001` not written, `PTR-002` what is there is damaged, `PTR-003` a flag that is not ours
                has the name of one that is, `LEASE-002`.
        """
        ...
