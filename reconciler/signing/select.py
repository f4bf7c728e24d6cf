"""Which signer a name means: a file or an ARN of AWS KMS."""

from __future__ import annotations

from pathlib import Path

from reconciler.ports import Signer


def signer_for(name: str, *, root: Path) -> Signer:
    """Return the signer that `file:PATH`, a path or an ARN names; a relative path begins at `root`."""
    if name.startswith("arn:"):
        from reconciler.signing.kms import KmsKey

        return KmsKey(name)
    from reconciler.signing.key_file import KeyFile

    return KeyFile(root / name.removeprefix("file:"))
