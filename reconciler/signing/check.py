"""Check Ed25519 and ECDSA P-256 signatures. Imports cryptography when called."""

from __future__ import annotations

from environments.errors import SluiceError


def verify(spki: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the key signed the message.

    Raises:
        SluiceError: `SIGN-003` cryptography is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519
        from cryptography.hazmat.primitives.serialization import load_der_public_key
    except ModuleNotFoundError as error:
        raise no_package("cryptography", error) from error
    try:
        key = load_der_public_key(spki)
        match key:
            case ed25519.Ed25519PublicKey():
                key.verify(signature, message)
            case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def no_package(name: str, error: Exception) -> SluiceError:
    """Return the error that says that a package for signing is not installed."""
    return SluiceError("SIGN-003", what=f"signatures need {name}", why=str(error), do="pip install 'sluice[signing]'")
