"""The reference of error codes, made from `environments.error_codes`."""

from __future__ import annotations

from collections.abc import Iterator

from environments.error_codes import AREAS, REGISTRY
from environments.error_codes.code import ErrorCode

_HEAD = """# Error codes

Every error and every finding of Sluice's own has a code. Its message says where it happened, what, why and what to do
*this* time; this page says it in general. `sluice policy explain CODE` prints the same in a terminal, and policies
explain themselves there too.

With `--json` an error is `{"error": {"code": …, "problems": […]}}` on stdout. The exit code is 3 for POLICY-001, 6 for
PLAN-003, otherwise 1.
"""


def errors_page() -> str:
    """Return docs/reference/errors.md."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    titles = dict.fromkeys(title for _, title in AREAS)
    for title in titles:
        areas = {area for area, its in AREAS if its == title}
        yield f"## {title}\n\n| code | what | when | what to do |\n|---|---|---|---|"
        yield from (_row(code) for code in REGISTRY.values() if code.area in areas)
        yield ""


def _row(code: ErrorCode) -> str:
    cells = (f'<a id="{code.code.lower()}"></a>**{code.code}**', code.title, code.when, code.do)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
