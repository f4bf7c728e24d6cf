"""Keys that sign: files of each kind, and AWS KMS as botocore's own stub checks what is asked of it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from environments.errors import SluiceError
from reconciler.ports import Signer
from reconciler.signing.check import verify
from reconciler.signing.key_file import KeyFile
from reconciler.signing.kms import KmsKey
from reconciler.signing.select import signer_for
from tests.support.builders.signing import private_key

ARN = "arn:aws:kms:eu-west-1:111122223333:key/5f1c"


def signs(signer: Signer, message: bytes = b"a message") -> bool:
    return verify(asyncio.run(signer.public_key()), message, asyncio.run(signer.sign(message)))


def refused(signer: Signer) -> SluiceError:
    with pytest.raises(SluiceError) as caught:
        asyncio.run(signer.sign(b"x"))
    assert caught.value.problem.do
    return caught.value


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.OpenSSH])
def test_a_key_file_signs(kind: str, form: PrivateFormat, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(private_key(kind).private_bytes(Encoding.PEM, form, NoEncryption()))
    assert signs(signer_for(str(path), root=Path("/")))
    assert signs(signer_for("file:key", root=tmp_path))


def test_a_key_with_a_password_asks_for_it_and_never_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    locked = BestAvailableEncryption(b"hunter2")
    path.write_bytes(private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    assert signs(KeyFile(path, environ={"SLUICE_KEY_PASSWORD": "hunter2"}))
    for environ in ({}, {"SLUICE_KEY_PASSWORD": "hunter3"}):
        error = refused(KeyFile(path, environ=environ))
        assert (error.code, "hunter" in str(error)) == ("SIGN-001", False)
        assert "SLUICE_KEY_PASSWORD" in error.problem.do


def test_what_cannot_sign_says_so(tmp_path: Path) -> None:
    old = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    curve = ec.generate_private_key(ec.SECP384R1())
    for content in (old, curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), b"secret text"):
        (tmp_path / "key").write_bytes(content)
        error = refused(KeyFile(tmp_path / "key"))
        assert (error.code, "secret text" in str(error)) == ("SIGN-001", False)
    assert "No such file" in refused(KeyFile(tmp_path / "gone")).problem.why


def stubbed(*answers: tuple[str, dict[str, Any], dict[str, Any]], error: str = "") -> KmsKey:
    """Return a key whose client answers these calls, in order, and refuses what botocore or the order refuses."""
    client = boto3.client("kms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    for verb, answer, asked in answers:
        stub.add_response(verb, answer, {"KeyId": ARN, **asked})
    if error:
        stub.add_client_error("get_public_key", error, "no")
    stub.activate()
    return KmsKey(ARN, client=lambda region: client if region == "eu-west-1" else None)


def described(key: Any, spec: str, usage: str = "SIGN_VERIFY") -> tuple[str, dict[str, Any], dict[str, Any]]:
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "get_public_key", {"KeyId": ARN, "PublicKey": spki, "KeySpec": spec, "KeyUsage": usage}, {}


def test_kms_signs_a_digest_with_p256() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sig = key.sign(b"a message", ec.ECDSA(hashes.SHA256()))
    asked = {
        "Message": hashlib.sha256(b"a message").digest(),
        "MessageType": "DIGEST",
        "SigningAlgorithm": "ECDSA_SHA_256",
    }
    assert signs(stubbed(described(key, "ECC_NIST_P256"), ("sign", {"Signature": sig}, asked)))


def test_kms_signs_the_message_with_ed25519() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    asked = {"Message": b"a message", "MessageType": "RAW", "SigningAlgorithm": "ED25519_SHA_512"}
    answers = (
        described(key, "ECC_NIST_EDWARDS25519"),
        ("sign", {"Signature": key.sign(b"a message")}, asked),
    )
    assert signs(stubbed(*answers))


def test_kms_refuses_with_its_own_reason() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    error = refused(stubbed(error="AccessDeniedException"))
    assert (error.code, error.retryable) == ("SIGN-002", False)
    assert "AccessDeniedException" in error.problem.why
    assert "111122223333" not in str(error), "an account's number is nobody's business"
    assert refused(stubbed(error="ThrottlingException")).retryable
    assert "RSA_2048" in refused(stubbed(described(key, "RSA_2048"))).problem.why
    assert "KEY_AGREEMENT" in refused(stubbed(described(key, "ECC_NIST_P256", "KEY_AGREEMENT"))).problem.why
    assert "no ARN" in refused(signer_for("arn:aws:kms", root=Path("/"))).problem.why
