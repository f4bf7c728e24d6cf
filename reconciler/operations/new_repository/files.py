"""Which files a new repository has: templates with a few words filled in, and files that Sluice ships as they are.

Reads the templates beside it and what `environments.here.shipped` finds. `reconciler.operations.new_repository.begin`
writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from environments.here import shipped

PROJECTS = ("images", "foundation", "platform", "serving")
_TEMPLATES = Path(__file__).parent / "templates"
_WRITTEN = {
    "README.md": "readme.md.txt",
    "Makefile": "makefile.txt",
    ".gitignore": "gitignore.txt",
    "requirements.txt": "requirements.txt",
    ".github/workflows/review.yml": "github/review.yml.txt",
    ".gitlab-ci.yml": "gitlab-ci.yml.txt",
    "environments/dev.yaml": "environments/dev.yaml.txt",
    "policies/__main__.py": "policies/main.py.txt",
}
_SHIPPED = (
    "environments/local.yaml",
    "environments/schema.json",
    "environments/prompts/chat-system.txt",
    "environments/evals/chat.yaml",
    "environments/evals/demo.yaml",
    "loadtests/profiles/chat.yaml",
    "loadtests/profiles/laptop.yaml",
    "policies/PulumiPolicy.yaml",
    *(f"stacks/{project}/Pulumi.yaml" for project in PROJECTS),
)


@dataclass(frozen=True)
class Answers:
    """What differs between two new repositories. `package` is the top of the module names in an installed wheel."""

    version: str
    owner: str
    package: str = "sluice"


def rendered(answers: Answers) -> dict[str, str]:
    """Return each file's path below the new repository, sorted, and its text."""
    words = {"VERSION": answers.version, "OWNER": answers.owner, "PACKAGE": answers.package}
    found = {path: filled(_TEMPLATES / name, words) for path, name in _WRITTEN.items()}
    found |= {path: shipped(path).read_text() for path in _SHIPPED}
    for project in PROJECTS:
        found[f"stacks/{project}/__main__.py"] = filled(_TEMPLATES / "stacks/main.py.txt", words | {"PROJECT": project})
    return dict(sorted(found.items()))


def filled(template: Path, words: Mapping[str, str]) -> str:
    """Return a template's text with each `@WORD@` replaced: YAML, make and shell use every other bracket already."""
    text = template.read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
