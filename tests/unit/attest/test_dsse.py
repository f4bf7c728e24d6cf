"""DSSE: the published test vector, both alphabets of base64, and whatever is done to an envelope is noticed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from environments.signing import keyid_of
from reconciler.core.attest.dsse import (
    Envelope,
    Signature,
    bundle_from_text,
    bundle_to_text,
    envelope_from_json,
    envelope_to_json,
    pae,
    signers,
)
from reconciler.signing.check import verify

# Source: secure-systems-lab/dsse, protocol.md, "Test Vectors".
KIND, BODY = "http://example.com/HelloWorld", b"hello world"
D = 97358161215184420915383655311931858321456579547487070936769975997791359926199
X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
PUBLISHED = (
    '{"payload": "aGVsbG8gd29ybGQ=", "payloadType": "http://example.com/HelloWorld", "signatures": [{"sig": '
    '"A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}'
)
KEY = ec.derive_private_key(D, ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_what_is_signed_is_what_the_published_vector_says() -> None:
    assert pae(KIND, BODY) == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert pae("ü", b"\x00") == b"DSSEv1 2 \xc3\xbc 1 \x00", "lengths are in bytes"


def test_the_published_signature_is_ours_and_is_accepted() -> None:
    point = KEY.public_key().public_numbers()
    assert (point.x, point.y) == (X, Y)
    published = envelope_from_json(json.loads(PUBLISHED))
    assert (published.payload, published.payload_type) == (BODY, KIND)
    raw = published.signatures[0].sig
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    mine = KEY.sign(published.signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    assert decode_dss_signature(mine) == (r, s), "the same message was hashed"
    der = replace(published, signatures=(Signature("", encode_dss_signature(r, s)),))
    assert signers(der, {keyid_of(SPKI): SPKI}, verify) == (keyid_of(SPKI),)
    moved = replace(der, payload=b"hello world!")
    assert signers(moved, {keyid_of(SPKI): SPKI}, verify) == (None,)
    assert signers(replace(der, payload_type=KIND + "s"), {keyid_of(SPKI): SPKI}, verify) == (None,)


def test_a_wrong_hint_neither_helps_nor_hurts() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    stranger = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    keys = {keyid_of(SPKI): SPKI, keyid_of(stranger): stranger}
    sig = KEY.sign(pae(KIND, BODY), ec.ECDSA(hashes.SHA256()))
    for hint in ("", "nobody", keyid_of(stranger), keyid_of(SPKI)):
        assert signers(Envelope(KIND, BODY, (Signature(hint, sig),)), keys, verify) == (keyid_of(SPKI),)
    assert signers(Envelope(KIND, BODY, (Signature(keyid_of(SPKI), b"x"),)), keys, verify) == (None,)


@given(st.text(max_size=20), st.binary(max_size=60), st.lists(st.binary(min_size=1, max_size=70), max_size=3))
def test_an_envelope_comes_back_from_json_in_both_alphabets(kind: str, body: bytes, sigs: list[bytes]) -> None:
    made = Envelope(kind, body, tuple(Signature(f"k{i}", sig) for i, sig in enumerate(sigs)))
    data = envelope_to_json(made)
    assert envelope_from_json(json.loads(json.dumps(data))) == made
    data["payload"] = base64.urlsafe_b64encode(body).decode()
    assert envelope_from_json(data) == made
    assert bundle_from_text(bundle_to_text((made, made)) + "\n") == (made, made)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "line 1: it has no payload"),
        ("[1]", "line 1: it has no payload"),
        ("nothing", "line 1: "),
        ('{"payload":"","payloadType":"\\ud800","signatures":[]}', "line 1: 'utf-8' codec"),
        ('{"payload":"a","payloadType":"t","signatures":[]}', "line 1: a text is not base64"),
        ('{"payload":"YQ==","payloadType":"t","signatures":[{}]}', "line 1: a signature has no sig"),
        ('\n{"payload":"YQ==","payloadType":"t","signatures":["x"]}', "line 2: a signature has no sig"),
    ],
)
def test_what_is_no_envelope_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bundle_from_text(text)


def test_keys_of_other_kinds_prove_nothing() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    spki = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert not verify(spki, b"x", other.sign(b"x", ec.ECDSA(hashes.SHA256())))
    assert not verify(b"no key", b"x", b"y")
