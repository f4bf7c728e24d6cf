"""The port for an environment's infrastructure: previews of its projects, and bringing one up."""

from __future__ import annotations

from typing import Protocol

from reconciler.core.plan.infrastructure import StackPreview


class Infrastructure(Protocol):
    """The Pulumi projects of one environment."""

    def projects(self) -> tuple[str, ...]:
        """Return their names, in the order in which they are brought up."""

    async def preview(self, project: str) -> StackPreview:
        """Return what bringing a project up would change. Reads only.

        Raises:
            SluiceError: `INFRA-…` Pulumi, the project or its stack is not there, or its program fails.
        """

    async def bring_up(self, project: str) -> StackPreview:
        """Bring a project up and return what was changed.

        Raises:
            SluiceError: `INFRA-…` as for `preview`; what was changed until then stays, and Pulumi's state knows it.
        """
