"""A registry that asks nobody: files of a folder by their content, every other reference by its text.

For plans that are made without credentials. A reference that names a version means the same thing everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from environments.errors import SluiceError
from environments.refs import FileRef, Ref
from reconciler.core.model.release import Artifact, Lineage
from reconciler.ports import Resolved
from reconciler.registries.file import FileRegistry
from reconciler.registries.select import Registries


class ByText(Registries):
    """Relative paths begin at the first of `roots` that has them: what git does not keep, every revision shares."""

    def __init__(self, roots: Sequence[Path], home: Path) -> None:
        super().__init__(FileRegistry(roots[0], home), None, home)
        self._roots = [FileRegistry(root, home) for root in roots]

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return the digest of a file's content, or the reference itself where it leads elsewhere.

        Raises:
            SluiceError: those of `FileRegistry`.
        """
        if not isinstance(ref, FileRef):
            return Resolved(Artifact(str(ref), ""), Lineage(source=str(ref)))
        *others, last = self._roots
        for files in others:
            try:
                return await files.resolve(ref, kind=kind)
            except SluiceError as error:
                if error.code != "REG-001":
                    raise
        return await last.resolve(ref, kind=kind)
