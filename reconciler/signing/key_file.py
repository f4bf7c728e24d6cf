"""Sign with a private key in a file. Imports cryptography when called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from environments.errors import SluiceError
from reconciler.signing.check import no_package

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

PASSWORD_VARIABLE = "SLUICE_KEY_PASSWORD"
_SSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class KeyFile:
    """An Ed25519 or ECDSA P-256 private key in a PEM or OpenSSH file, read at each use and not kept."""

    def __init__(self, path: Path, *, environ: Mapping[str, str] = os.environ) -> None:
        self._path = path
        self._environ = environ

    async def public_key(self) -> bytes:
        """Return the SubjectPublicKeyInfo of the key."""
        key = self._key()
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    async def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`."""
        key = self._key()
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519

        match key:
            case ed25519.Ed25519PrivateKey():
                return key.sign(message)
            case ec.EllipticCurvePrivateKey() if isinstance(key.curve, ec.SECP256R1):
                return key.sign(message, ec.ECDSA(hashes.SHA256()))
            case _:
                raise self._refused(f"it is a {type(key).__name__}, and Ed25519 and ECDSA P-256 are understood")

    def _key(self) -> PrivateKeyTypes:
        try:
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives import serialization
        except ModuleNotFoundError as error:
            raise no_package("cryptography", error) from error
        try:
            raw = self._path.read_bytes()
            read = serialization.load_ssh_private_key if _SSH in raw else serialization.load_pem_private_key
            return read(raw, self._password())
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            # What the library says may quote the file; only the kind of error is passed on.
            raise self._refused(f"no private key could be read ({type(error).__name__})") from None

    def _password(self) -> bytes | None:
        said = self._environ.get(PASSWORD_VARIABLE)
        return said.encode() if said else None

    def _refused(self, why: str) -> SluiceError:
        return SluiceError(
            "SIGN-001",
            where=str(self._path),
            what="this file cannot sign",
            why=why,
            do="name a private key: openssl genpkey -algorithm ed25519 -out key.pem makes one; for one with a "
            f"password, export {PASSWORD_VARIABLE}",
        )
