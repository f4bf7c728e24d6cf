"""What a release is made of and what points to it: registries and prompt pointers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from environments.refs import Ref
from reconciler.core.release import Artifact, Lineage


@dataclass(frozen=True)
class Resolved:
    """What a registry knows of a reference. `text` is a prompt's content, None for everything else."""

    artifact: Artifact
    lineage: Lineage
    text: str | None = None


class Registry(Protocol):
    """Turns references into digests and lineage."""

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return digest and lineage; `kind` is `model`, `adapter`, `prompt`, `index` or `guardrails`.

        Raises:
            SluiceError: `REG-001` no such thing, `REG-002` refused (pickled weights),
                `REG-003` out of reach (retryable).
        """
        ...

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Point `alias` at `ref` and return the reference that had it before, None if none or not supported."""
        ...


@dataclass(frozen=True)
class PromptSplit:
    """How one prompt of one endpoint is split between releases.

    `variants` are (release id, prompt text, share of users in percent); shares add up to 100. The challenger comes
    first, so that users who have it keep it while its share grows. `seed` (the rollout's id) decides who is first.
    """

    endpoint: str
    prompt: str
    variants: tuple[tuple[str, str, float], ...]
    seed: str


class Pointers(Protocol):
    """The flag document of one region that says which user gets which prompt."""

    async def read(self) -> tuple[PromptSplit, ...]:
        """Return what is published, sorted by endpoint and prompt; empty when nothing is."""
        ...

    async def publish(self, endpoint: str, splits: Sequence[PromptSplit], *, fence: int) -> None:
        """Replace all splits of one endpoint in one atomic write; other endpoints keep theirs."""
        ...
