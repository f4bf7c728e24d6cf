"""Keys and approvals for tests: people with key pairs, and what they sign."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from environments.signing import keyid_of, spki_of


def private_key(kind: str = "ed25519") -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
    """Return a new private key: `ed25519` or `p256`."""
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())


class Person:
    """Somebody with a key in a file."""

    def __init__(self, name: str, folder: Path, *, kind: str = "ed25519") -> None:
        self.name = name
        self.key = private_key(kind)
        self.path = folder / f"{name}-{kind}.pem"
        self.path.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def public_key(self) -> str:
        """Return the public key as PEM."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def keyid(self) -> str:
        """Return the key's id."""
        return keyid_of(spki_of(self.public_key))

    def listed(self, *accounts: str, name: str | None = None) -> dict[str, object]:
        """Return the person as `approvals.keys` lists them."""
        return {"name": name or self.name, "public_key": self.public_key, "accounts": list(accounts)}
