"""Sign with a key in AWS KMS, which never leaves it. Imports boto3 when called.

Source: AWS KMS API reference, Sign and GetPublicKey: `ECC_NIST_P256` signs with `ECDSA_SHA_256`, also a digest that was
made before; `ECC_NIST_EDWARDS25519` signs with `ED25519_SHA_512`, the message itself, of 4,096 bytes at most.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from environments.errors import SluiceError
from reconciler.signing.check import no_package

_ALGORITHMS = {"ECC_NIST_P256": "ECDSA_SHA_256", "ECC_NIST_EDWARDS25519": "ED25519_SHA_512"}
_RAW_MAX = 4096
_PASSING = ("KMSInternalException", "DependencyTimeoutException", "ThrottlingException", "KeyUnavailableException")


class KmsKey:
    """A key that an ARN names; the region is the ARN's. `client` makes a client of KMS for a region."""

    def __init__(self, arn: str, *, client: Callable[[str], Any] | None = None) -> None:
        self._arn = arn
        self._make = client or _client
        self._found: dict[str, Any] | None = None

    async def public_key(self) -> bytes:
        """Return the SubjectPublicKeyInfo of the key."""
        return bytes((await self._described())["PublicKey"])

    async def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`."""
        algorithm = _ALGORITHMS[(await self._described())["KeySpec"]]
        if algorithm == "ECDSA_SHA_256":
            what = {"Message": hashlib.sha256(message).digest(), "MessageType": "DIGEST"}
        elif len(message) <= _RAW_MAX:
            what = {"Message": message, "MessageType": "RAW"}
        else:
            raise self._refused(f"it signs {_RAW_MAX} bytes at most, and these are {len(message)}")
        answer = await self._asked("sign", SigningAlgorithm=algorithm, **what)
        return bytes(answer["Signature"])

    async def _described(self) -> dict[str, Any]:
        if self._found is None:
            found = await self._asked("get_public_key")
            if found["KeySpec"] not in _ALGORITHMS or found["KeyUsage"] != "SIGN_VERIFY":
                raise self._refused(f"it is of the kind {found['KeySpec']} for {found['KeyUsage']}")
            self._found = found
        return self._found

    async def _asked(self, verb: str, **values: Any) -> dict[str, Any]:
        region = self._arn.split(":")[3] if self._arn.count(":") >= 5 else ""
        if not region:
            raise self._refused("this is no ARN of a KMS key")
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ModuleNotFoundError as error:
            raise no_package("boto3", error) from error
        try:
            client = self._make(region)
            answer: dict[str, Any] = await asyncio.to_thread(getattr(client, verb), KeyId=self._arn, **values)
        except ClientError as error:
            told = error.response.get("Error", {})
            code = told.get("Code", "")
            raise self._refused(f"{code}: {told.get('Message', '')}", retryable=code in _PASSING) from error
        except BotoCoreError as error:
            raise self._refused(str(error), retryable=True) from error
        return answer

    def _refused(self, why: str, *, retryable: bool = False) -> SluiceError:
        return SluiceError(
            "SIGN-002",
            where=self._arn.rpartition("/")[2],
            what="the KMS key cannot sign",
            why=why,
            do="name a key of the spec ECC_NIST_P256 or ECC_NIST_EDWARDS25519 for SIGN_VERIFY, and allow kms:Sign and "
            "kms:GetPublicKey on it",
            retryable=retryable,
        )


def _client(region: str) -> Any:
    try:
        import boto3
    except ModuleNotFoundError as error:
        raise no_package("boto3", error) from error
    return boto3.client("kms", region_name=region)
