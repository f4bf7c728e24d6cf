"""Policies over what registries know of a release: licences, cards, formats, signatures, data, reviews. Pure.

Listed in `policies.catalog`. What a registry does not say is a finding; docs/reference/lineage.md says how to say it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from policies.facts import ArtifactFacts
from policies.policy import Hit, NotKnown, OnPlan, PlanContext, Policy, levels

WEIGHTS = ("model", "adapter", "repository")
ALLOWED = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-4.0")
SAFE = frozenset({"safetensors"})
VERIFIED = "verified"

Say = Callable[[PlanContext, ArtifactFacts], str | None]
"""What is wrong with an artifact whose registry was asked, in words that follow its name; None when nothing is."""


def _over(kinds: tuple[str, ...], what: str, say: Say, context: PlanContext) -> Iterator[Hit]:
    """Find what `say` finds of every artifact of these kinds in what moves; `what` names it where nobody knows."""
    for address, _ in context.moving():
        release = context.known().releases.get(address.rpartition("/")[2])
        if release is None:
            yield address, NotKnown(what, "the release's references could not be resolved")
            continue
        for path, artifact in sorted(release.artifacts.items()):
            if artifact.kind not in kinds:
                continue
            if isinstance(artifact.known, str):
                yield address, NotKnown(f"{what} of release.{path}", artifact.known)
            elif found := say(context, artifact):
                yield address, f"release.{path} ({artifact.ref}) {found}"


def _known(artifact: ArtifactFacts, key: str) -> str:
    return artifact.known.get(key, "") if isinstance(artifact.known, dict) else ""


def _licence(context: PlanContext, artifact: ArtifactFacts) -> str | None:
    override = context.set_here("LIN-001")
    allowed = [each.lower() for each in (override.allowed if override else None) or ALLOWED]
    licence = _known(artifact, "license")
    if not licence:
        return "names no licence"
    return None if licence.lower() in allowed else f'has the licence "{licence}"; allowed are {", ".join(allowed)}'


def _card(context: PlanContext, artifact: ArtifactFacts) -> str | None:
    return None if _known(artifact, "model_card") else "has no model card"


def _formats(context: PlanContext, artifact: ArtifactFacts) -> str | None:
    formats = {each for each in _known(artifact, "formats").split(",") if each}
    if not formats:
        return "does not say in which format its weights are"
    return None if formats <= SAFE else f"holds weights as {', '.join(sorted(formats - SAFE))}"


def _signature(context: PlanContext, artifact: ArtifactFacts) -> str | None:
    said = _known(artifact, "signature")
    if not said:
        return "is not signed"
    return None if said.startswith(VERIFIED) else f"is signed, and nobody has verified that: its registry says {said}"


def _datasets(context: PlanContext, artifact: ArtifactFacts) -> str | None:
    return None if artifact.datasets or _known(artifact, "datasets") else "does not say which data it was made from"


def _validation(context: PlanContext, artifact: ArtifactFacts) -> str | None:
    return None if _known(artifact, "validation") else "names no validation report"


def _review(context: PlanContext, artifact: ArtifactFacts) -> str | None:
    if artifact.ref.startswith("file:"):
        return None  # a prompt in a file is reviewed in the pull request that changes it
    return None if _known(artifact, "reviewed_by") else "was reviewed by nobody that its registry knows of"


def _rule(kinds: tuple[str, ...], what: str, say: Say) -> OnPlan:
    return OnPlan(partial(_over, kinds, what, say), needs=True)


POLICIES = (
    Policy(
        "LIN-001", "Licences are allowed ones", "a licence that forbids the use is found out in public",
        "use another model, or add the licence to `allowed` of LIN-001 after somebody has read it",
        _rule(WEIGHTS, "the licence", _licence),
        levels(dev="off", staging="info", prod="warn"), "release.model", ("allowed",),
    ),
    Policy(
        "LIN-002", "Models have a card", "who serves it should know what it is for and where it fails",
        "add README.md to the model, or the tag sluice.model_card", _rule(WEIGHTS, "the card", _card),
        levels(dev="off", staging="info", prod="warn"), "release.model",
    ),
    Policy(
        "LIN-003", "Weights are safetensors", "other formats run code when they are loaded",
        "save the weights as safetensors", _rule(("model", "adapter"), "the format", _formats),
        levels(dev="off", staging="warn", prod="deny"), "release.model", unknown="warn",
    ),
    Policy(
        "LIN-004", "Signatures are verified", "whoever can write to a registry can write a model",
        "sign it with model-signing, have CI verify it, and set the tag sluice.signature to verified:KEY",
        _rule(WEIGHTS, "the signature", _signature),
        levels(dev="off", staging="info", prod="info"), "release.model",
    ),
    Policy(
        "LIN-005", "Data sets are recorded", "data that must be deleted one day has to be found again",
        "log the data set with the run, or set the tag sluice.datasets", _rule(WEIGHTS, "the data", _datasets),
        levels(dev="off", staging="info", prod="warn"), "release.model",
    ),
    Policy(
        "LIN-006", "A validation report is recorded", "an audit asks what was known on the day of the release",
        "set the tag sluice.validation to where the report is", _rule(WEIGHTS, "the report", _validation),
        levels(dev="off", staging="info", prod="info"), "release.model",
    ),
    Policy(
        "LIN-007", "Prompts are reviewed", "a prompt changes what is said to every user, and no compiler reads it",
        "set the tag sluice.reviewed_by of the prompt's version to who read it",
        _rule(("prompt",), "who reviewed", _review),
        levels(dev="off", staging="info", prod="warn"), "release.prompts",
    ),
)  # fmt: skip
