"""Who signs: a private key that stays where it is, in a file or in a key service."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from environments.signing import keyid_of
from reconciler.core.attest.dsse import Envelope, Signature
from reconciler.core.attest.statement import unsigned
from reconciler.core.canonical import Json


class Signer(Protocol):
    """Signs with one private key, Ed25519 or ECDSA P-256 with SHA-256 (DER)."""

    async def public_key(self) -> bytes:
        """Return the SubjectPublicKeyInfo of the key.

        Raises:
            SluiceError: `SIGN-001` to `SIGN-003`.
        """
        ...

    async def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`.

        Raises:
            SluiceError: `SIGN-001` to `SIGN-003`.
        """
        ...


async def signed(statement: Json, signer: Signer) -> Envelope:
    """Return a statement in an envelope with the signer's signature.

    Raises:
        SluiceError: `SIGN-001` to `SIGN-003`.
    """
    envelope = unsigned(statement)
    keyid = keyid_of(await signer.public_key())
    return replace(envelope, signatures=(Signature(keyid, await signer.sign(envelope.signed)),))
