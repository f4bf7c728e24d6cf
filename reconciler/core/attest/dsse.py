"""DSSE envelopes: what is signed, and the JSON in which it travels. Pure; signing and checking are given.

Source: secure-systems-lab/dsse, protocol.md and envelope.md, version 1.0.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from reconciler.core.canonical import Json, canonical_json

PAYLOAD_TYPE = "application/vnd.in-toto+json"
Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether the key (its SubjectPublicKeyInfo) signed the message: `verify(spki, message, signature)`."""


@dataclass(frozen=True)
class Signature:
    """One signature; `keyid` is a hint by which its key is found, and proves nothing."""

    keyid: str
    sig: bytes


@dataclass(frozen=True)
class Envelope:
    """Bytes of a type, with signatures over both."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def signed(self) -> bytes:
        """Return the bytes that a signature covers."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: lengths in bytes, so that no two pairs give the same text."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def payload_of(statement: Json) -> bytes:
    """Return a statement as the bytes that are signed: canonical JSON."""
    return canonical_json(statement).encode()


def envelope_to_json(envelope: Envelope) -> Json:
    """Return the envelope as DSSE writes it, in standard base64."""
    return {
        "payload": _text(envelope.payload),
        "payloadType": envelope.payload_type,
        "signatures": [{"keyid": s.keyid, "sig": _text(s.sig)} for s in envelope.signatures],
    }


def envelope_from_json(data: Any) -> Envelope:
    """Return the envelope that some JSON holds; both alphabets of base64 are read, as DSSE wants it.

    Raises:
        ValueError: it is none.
    """
    match data:
        case {"payload": str(payload), "payloadType": str(kind), "signatures": list(signatures)}:
            kind.encode()  # JSON can hold text that UTF-8 cannot: that is a ValueError here, and not where it is used
            return Envelope(kind, _bytes(payload), tuple(_signature(each) for each in signatures))
        case _:
            raise ValueError("it has no payload, payloadType and signatures")


def bundle_to_text(envelopes: Iterable[Envelope]) -> str:
    """Return envelopes as in-toto bundles them: a JSON line each."""
    return "".join(canonical_json(envelope_to_json(each)) + "\n" for each in envelopes)


def bundle_from_text(text: str) -> tuple[Envelope, ...]:
    """Return the envelopes of a bundle; empty lines are passed over.

    Raises:
        ValueError: a line is no envelope; the message begins with its number.
    """
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found.append(envelope_from_json(json.loads(line)))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return tuple(found)


def envelopes_among(text: str) -> tuple[Envelope, ...]:
    """Return the envelopes that stand among other words, a line each, as in comments; other lines are passed over."""
    found = []
    for line in text.splitlines():
        if line.lstrip().startswith("{"):
            with suppress(ValueError, RecursionError):
                found.append(envelope_from_json(json.loads(line)))
    return tuple(found)


def signers(envelope: Envelope, keys: Mapping[str, bytes], verify: Verify) -> tuple[str | None, ...]:
    """Return for each signature the id of the key that made it, None where none of `keys` (id → key) did.

    The hint only says which key is tried first: a signature without one, or with a wrong one, is tried with all.
    """
    return tuple(_signer(each, envelope.signed, keys, verify) for each in envelope.signatures)


def _signer(signature: Signature, message: bytes, keys: Mapping[str, bytes], verify: Verify) -> str | None:
    first = [signature.keyid] if signature.keyid in keys else []
    tried = [*first, *(keyid for keyid in sorted(keys) if keyid not in first)]
    return next((keyid for keyid in tried if verify(keys[keyid], message, signature.sig)), None)


def _signature(data: Any) -> Signature:
    match data:
        case {"sig": str(sig)}:
            keyid = data.get("keyid")
            return Signature(keyid if isinstance(keyid, str) else "", _bytes(sig))
        case _:
            raise ValueError("a signature has no sig")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a text is not base64: {error}") from error
