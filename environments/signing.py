"""Who may approve a plan, and whose key signs the ledger: two blocks of the environment file. Pure.

Public keys stand in the file; a private key never does, only its name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from environments.strict import Strict

_ED25519 = bytes.fromhex("302a300506032b6570032100")
_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_KINDS = ((_ED25519, 32), (_P256, 64))
"""How the SubjectPublicKeyInfo of each kind begins, and how many bytes of key follow.

Source: RFC 8410 (Ed25519), RFC 5480 (P-256, uncompressed point).
"""
_FIRST, _LAST = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


def spki_of(text: str) -> bytes:
    """Return the SubjectPublicKeyInfo of a public key that is written as PEM, or as the base64 between its lines.

    Raises:
        ValueError: it is no Ed25519 or ECDSA P-256 public key.
    """
    inner = text.strip().removeprefix(_FIRST).removesuffix(_LAST)
    try:
        found = base64.b64decode("".join(inner.split()), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not any(found.startswith(head) and len(found) == len(head) + rest for head, rest in _KINDS):
        raise ValueError(
            "this is no Ed25519 or ECDSA P-256 public key; `openssl pkey -in KEY -pubout` prints one as it belongs here"
        )
    return found


def keyid_of(spki: bytes) -> str:
    """Return a key's id: the hex SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(spki).hexdigest()


def _checked_key(text: str) -> str:
    return base64.b64encode(spki_of(text)).decode()


def _checked_name(text: str) -> str:
    if not re.fullmatch(r"file:.+|arn:aws[a-z-]*:kms:\S+", text):
        raise ValueError(f'"{text}" names no private key; write file:PATH, or the ARN of a KMS key')
    return text


KeyName = Annotated[str, AfterValidator(_checked_name)]
PublicKeyText = Annotated[str, AfterValidator(_checked_key)]
PersonName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+\-]{0,63}$")]


class ApproverSpec(Strict):
    """A person and one of their keys. Two keys of one name are one person; `accounts` are other names of theirs."""

    name: PersonName
    public_key: PublicKeyText
    accounts: list[PersonName] = []


class ApprovalsSpec(Strict):
    """Who may approve a plan, and how many of them have to before `apply` carries it out."""

    needed: Annotated[int, Field(ge=1, le=16)] = 1
    keys: Annotated[list[ApproverSpec], Field(min_length=1, max_length=64)]


class LedgerKeySpec(Strict):
    """A key whose signature under the ledger's head counts."""

    name: PersonName
    public_key: PublicKeyText


class LedgerSpec(Strict):
    """Whose signature stands under the ledger's head at the end of each rollout.

    `sign_with` names the private key: `file:PATH` or the ARN of a KMS key. `keys` are those that are believed.
    """

    sign_with: KeyName | None = None
    keys: Annotated[list[LedgerKeySpec], Field(max_length=64)] = []
