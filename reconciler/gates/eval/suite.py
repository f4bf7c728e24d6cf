"""The typed eval suite: cases, what an answer is worth, how inputs are disturbed, and what is demanded of the scores.

Pure: no I/O, no clock. `suite_file` turns YAML into these types and checks what spans several keys.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, StringConstraints

from environments.strict import Strict

CASES_MAX = 5_000
ANSWERS_MAX = 50_000

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Exact(Strict):
    """The answer is the expected text, blanks at both ends apart."""

    kind: Literal["exact"]
    ignore_case: bool = False


class Contains(Strict):
    """The answer has the expected text in it, or all of a list of texts."""

    kind: Literal["contains"]
    ignore_case: bool = False


class Regex(Strict):
    """The expected pattern, or the scorer's own `pattern` where a case has none, matches somewhere in the answer."""

    kind: Literal["regex"]
    pattern: Text | None = None
    absent: bool = False


class JsonSchema(Strict):
    """The answer is JSON, a fence of three backticks around it apart, that the expected JSON Schema admits."""

    kind: Literal["json_schema"]


class Numeric(Strict):
    """The last number of the answer is within `tolerance` (absolute) or `relative` (a share) of the expected one."""

    kind: Literal["numeric"]
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    relative: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Similarity(Strict):
    """The words of the answer are like those of the expected text, or the likest of a list, by at least `threshold`."""

    kind: Literal["similarity"]
    threshold: Share


class Refusal(Strict):
    """The answer declines; with `expected: false` in the case, or `absent`, it must not. `phrases` add to ours."""

    kind: Literal["refusal"]
    absent: bool = False
    phrases: list[Text] = []


class Toxicity(Strict):
    """None of `words` stands in the answer as a whole word, whatever its case, accents and width."""

    kind: Literal["toxicity"]
    words: Annotated[list[Text], Field(min_length=1)]


class Length(Strict):
    """The answer, blanks at both ends apart, has this many characters; a rule for form where no text is right."""

    kind: Literal["length"]
    min_chars: Count = 1
    max_chars: Count = 1_000_000


class Rubric(Strict):
    """What a judge model is told. The version is logged, and stands for a text that was agreed on."""

    version: Text
    text: Text


class Label(Strict):
    """An answer that a person has judged, to measure the judge by."""

    input: Text
    answer: str
    expected: str | None = None
    good: bool


class LlmJudge(Strict):
    """A model behind an OpenAI-compatible endpoint says whether the answer meets the rubric.

    `url` ends before `/chat/completions`. `api_key_env` names a variable, never a key. With `labels`, the judge has to
    agree with people on at least `agreement_min` of them before it is believed.
    """

    kind: Literal["llm_judge"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    model: Text
    rubric: Rubric
    api_key_env: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    labels: list[Label] = []
    agreement_min: Share = 0.8
    timeout_s: Seconds = 60.0


Scorer = Annotated[
    Exact | Contains | Regex | JsonSchema | Numeric | Similarity | Refusal | Toxicity | Length | LlmJudge,
    Field(discriminator="kind"),
]
SCORERS: dict[str, type[Strict]] = {
    "exact": Exact,
    "contains": Contains,
    "regex": Regex,
    "json_schema": JsonSchema,
    "numeric": Numeric,
    "similarity": Similarity,
    "refusal": Refusal,
    "toxicity": Toxicity,
    "length": Length,
    "llm_judge": LlmJudge,
}


class Sampling(Strict):
    """How answers are drawn: `repeats` of them for each input; more than one is needed above temperature 0."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    repeats: Annotated[int, Field(ge=1, le=100)] = 1


class Requests(Strict):
    """How the targets are asked: this many at once of each, this long for one answer, and this long for the suite."""

    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    timeout_s: Seconds = 60.0
    total_s: Seconds = 1800.0


class Perturbations(Strict):
    """How many disturbed copies of each input are asked as well. `phrases` is the paraphrase table: phrase → others."""

    typo: Annotated[int, Field(ge=0, le=10)] = 0
    case: Annotated[int, Field(ge=0, le=3)] = 0
    paraphrase: Annotated[int, Field(ge=0, le=10)] = 0
    phrases: dict[Text, Annotated[list[Text], Field(min_length=1)]] = {}
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    max_loss: Share | None = None


class Slices(Strict):
    """Groups that have to fare alike: tag → share of passed cases, apart by `max_gap` at most.

    The YAML names each comparison: `languages: {tags: [en, de, fr], max_gap: 0.15}`.
    """

    tags: Annotated[list[Identifier], Field(min_length=2)]
    max_gap: Share


class Case(Strict):
    """One input and what its answer is measured by. `scorer` is one name or several, which all have to be content."""

    id: Identifier
    input: Text
    expected: Any = None
    scorer: Identifier | Annotated[list[Identifier], Field(min_length=1)] | None = None
    tags: list[Identifier] = []

    @property
    def scorers(self) -> tuple[str, ...]:
        """Return the names of the case's own scorers."""
        if self.scorer is None:
            return ()
        return (self.scorer,) if isinstance(self.scorer, str) else tuple(self.scorer)


class Suite(Strict):
    """A whole suite.

    `prompt` is the key of the release's prompt that stands before each input. `every` are scorers for all cases.
    `population` says what the cases stand for. `prompts`: they are a sample of what users ask, so the drop has an
    interval that shrinks with their number. `cases`: they are a list of what has to work, complete in itself, so the
    drop is the one that was seen; nothing is claimed about other prompts.
    """

    suite: Identifier
    version: PositiveInt
    prompt: Identifier | None = None
    population: Literal["prompts", "cases"] = "prompts"
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    sampling: Sampling = Sampling()
    requests: Requests = Requests()
    scorers: Annotated[dict[Identifier, Scorer], Field(min_length=1)]
    every: list[Identifier] = []
    thresholds: dict[Identifier, Share] = {}
    cases: Annotated[list[Case], Field(min_length=1, max_length=CASES_MAX)]
    perturbations: Perturbations = Perturbations()
    slices: dict[Identifier, Slices] = {}

    def scorers_of(self, case: Case) -> tuple[str, ...]:
        """Return the names of everything that scores a case, each once."""
        return tuple(dict.fromkeys((*case.scorers, *self.every)))
