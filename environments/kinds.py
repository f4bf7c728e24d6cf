"""How a declared block names the code that serves it, as text: what users declare knows nothing of what runs it. Pure.

Gates, platforms and metric sources are declared here below and served in `reconciler`. The text is imported when the
thing is first asked for, so that a command loads what it needs and stacks load none of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Code:
    """Where the code is, as `MODULE:NAME`, and which keys of the block name files.

    `speaks` is the protocol in which it asks a release's server; empty for what asks none.
    """

    at: str
    files: tuple[str, ...] = ()
    speaks: str = ""


def code_of(field: FieldInfo) -> Code | None:
    """Return the `Code` that annotates a field, None where this build has none."""
    return next((item for item in field.metadata if isinstance(item, Code)), None)
