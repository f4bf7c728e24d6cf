"""A gate's context for eval tests: releases with prompts, a suite in a file, and no live counters."""

from __future__ import annotations

from pathlib import Path

from environments.names import Address
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.ports import GateContext, SlotCounts

PROMPT = "You answer in one short sentence."


def release(name: str, *, prompt: str | None = PROMPT, ref: str | None = None, run_id: str | None = None) -> Release:
    """Return a release of the endpoint `chat` that nothing runs."""
    artifact = Artifact(ref or f"file:models/{name}", f"sha256:{name}")
    prompts = {"system": Artifact("file:prompt.txt", "sha256:prompt")} if prompt is not None else {}
    texts = {"system": prompt} if prompt is not None else {}
    lineage = {"model": Lineage(run_id=run_id)}
    return Release("chat", "vllm", artifact, prompts=prompts, prompt_texts=texts, lineage=lineage)


def eval_context(
    folder: Path,
    suite: str,
    *,
    challenger: str,
    champion: str | None,
    max_drop: float = 0.02,
    releases: tuple[Release, Release] | None = None,
) -> GateContext:
    """Write the suite's YAML below `folder` and return a context that points at it; the arms are addresses."""
    (folder / "suite.yaml").write_text(suite, encoding="utf-8")
    new, old = releases or (release("new"), release("old"))
    return GateContext(
        address=Address("local", "local", "chat"),
        rollout="chat-1",
        challenger=new,
        challenger_url=challenger,
        champion=old if champion else None,
        champion_url=champion,
        settings={"suite": "suite.yaml", "max_drop": max_drop, "slo": {}},
        root=str(folder),
        reports=str(folder / "reports"),
        live=_nobody,
    )


async def _nobody() -> SlotCounts | None:
    return None
