"""S3 as far as models need it: errors that say what to do, and SHA-256 of objects as S3 itself keeps them.

boto3 is imported when a client is made. Addresses and credentials come from where AWS's own tools read them
(`AWS_ENDPOINT_URL_S3` names another server that speaks S3).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments.errors import SluiceError

PART_BYTES = 64 * 1024 * 1024
"""Size of a part of a large object. S3 takes 10,000 parts, so objects up to 640 GB; the transfer manager goes on."""
_HOME = "us-east-1"
_ABSENT = ("404", "NoSuchKey", "NotFound", "NoSuchVersion")
_BLOCK = 1 << 20


def client(where: str) -> Any:
    """Return a client of S3; nothing is sent yet.

    Raises:
        SluiceError: `REG-009` boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        what, do = f"a package for S3 is missing: {error.name}", "pip install 'sluice[s3]'"
        raise SluiceError("REG-009", where=where, what=what, do=do) from error
    session = boto3.session.Session()
    config = Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 3, "mode": "standard"})
    # Buckets of other regions redirect, and the client follows.
    return session.client("s3", region_name=session.region_name or _HOME, config=config)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what S3 or the way to it refuses into an error that says what to do.

    Raises:
        SluiceError: `REG-003`.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise _refused(where, f"S3 answers {code}", str(error), _DO.get(code, "look at the bucket's policy")) from error
    except NoCredentialsError as error:
        raise _refused(where, "there are no credentials for S3", str(error), "log in to AWS") from error
    except (BotoCoreError, Boto3Error) as error:
        raise _refused(where, "S3 cannot be asked", str(error), "look at the network, then try again") from error


def absent(error: Exception) -> bool:
    """Return whether a `ClientError` says that an object is not there."""
    response = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", "")) in _ABSENT


def head(s3: Any, bucket: str, key: str) -> dict[str, Any] | None:
    """Return what S3 says of an object, its checksum with it; None where there is none."""
    from botocore.exceptions import ClientError

    try:
        found: dict[str, Any] = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if absent(error):
            return None
        raise
    return found


def holds(s3: Any, bucket: str, key: str, file: Path, sha256: str) -> bool:
    """Return whether an object has a file's content: by the SHA-256 that S3 keeps, else by reading it back.

    S3 keeps the SHA-256 of a whole object, or one over those of its parts (`BASE64-PARTS`).
    """
    found = head(s3, bucket, key)
    if found is None or found["ContentLength"] != file.stat().st_size:
        return False
    kept = str(found.get("ChecksumSHA256") or "")
    # Another checksum proves nothing: who sent it in parts of another size has another one of the same content.
    return kept in (_base64(sha256), composite_sha256(file)) or _read_back(s3, bucket, key) == sha256


def composite_sha256(file: Path, part_bytes: int | None = None) -> str:
    """Return the checksum that S3 keeps of a file that was sent in parts.

    Source: Amazon S3 User Guide, "Checking object integrity": a composite checksum is one over the parts' checksums.
    """
    digests = [part.digest() for part in _parts(file, part_bytes or PART_BYTES)]
    return f"{base64.b64encode(hashlib.sha256(b''.join(digests)).digest()).decode()}-{len(digests)}"


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _parts(file: Path, part_bytes: int) -> Iterator[Any]:
    with file.open("rb") as stream:
        while True:
            sha, left = hashlib.sha256(), part_bytes
            while left and (block := stream.read(min(_BLOCK, left))):
                sha.update(block)
                left -= len(block)
            if left == part_bytes and stream.tell():
                return  # the last part ended with the file
            yield sha
            if left:
                return


def _read_back(s3: Any, bucket: str, key: str) -> str:
    sha = hashlib.sha256()
    for block in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_BLOCK):
        sha.update(block)
    return sha.hexdigest()


def upload(s3: Any, file: Path, bucket: str, key: str, told: Callable[[int], None]) -> None:
    """Send a file, in parts where it is large; S3 refuses a part whose SHA-256 is another than was sent with it."""
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=8)
    s3.upload_file(str(file), bucket, key, ExtraArgs={"ChecksumAlgorithm": "SHA256"}, Config=config, Callback=told)


_DO = {
    "NoSuchBucket": "correct the bucket's name; `pulumi up` in stacks/foundation makes the region's",
    "AccessDenied": "let whoever runs this read and write the bucket (s3:GetObject, s3:PutObject, s3:ListBucket, and"
    " its key)",
    "403": "let whoever runs this read the bucket (s3:GetObject and s3:ListBucket, and its key)",
    "ExpiredToken": "log in to AWS again",
    "InvalidAccessKeyId": "log in to AWS again",
    "SlowDown": "try again later",
}


def _refused(where: str, what: str, why: str, do: str) -> SluiceError:
    return SluiceError("REG-003", where=where, what=what, why=why, do=do, retryable=True)
