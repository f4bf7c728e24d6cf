"""Typed references to what a release is made of: `file:`, `mlflow:`, `hf:` and `s3:`.

Pure: parsing checks shape only; whether a thing exists is a registry's question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from environments.errors import nearest

SCHEMES = ("file", "hf", "mlflow", "s3")


@dataclass(frozen=True, order=True)
class FileRef:
    """A file or folder, relative to the folder that holds `environments/`, or absolute."""

    path: str

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True, order=True)
class MlflowRef:
    """A version of a registered model or prompt in MLflow. Versions only: an alias would move under a release."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"mlflow:{self.name}/{self.version}"


@dataclass(frozen=True, order=True)
class HfRef:
    """A hub repository pinned to a full commit."""

    repository: str
    commit: str

    def __str__(self) -> str:
        return f"hf:{self.repository}@{self.commit}"


@dataclass(frozen=True, order=True)
class S3Ref:
    """An object (or prefix) in a versioned bucket, pinned to a version or a dated snapshot."""

    bucket: str
    key: str
    version_id: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}@{self.version_id}"


Ref = FileRef | MlflowRef | HfRef | S3Ref

_MLFLOW = re.compile(r"(?P<name>[A-Za-z0-9][\w.\- ]{0,254})/(?P<version>[1-9][0-9]{0,8})")
_HF = re.compile(r"(?P<repository>[\w.\-]+/[\w.\-]+)@(?P<commit>[0-9a-f]{40})")
_S3 = re.compile(r"//(?P<bucket>[a-z0-9][a-z0-9.\-]{0,62})/(?P<key>[^@\s]+)@(?P<version_id>[^@\s]+)")
JSON_SCHEMA_PATTERN = "^({})$".format(
    "|".join(
        ["file:(?!//).+"]
        + [
            f"{scheme}:{re.sub('[?]P<[a-z_]+>', '', shape.pattern)}"
            for scheme, shape in (("mlflow", _MLFLOW), ("hf", _HF), ("s3", _S3))
        ]
    )
)
_SHAPES = {
    "file": "file:PATH",
    "mlflow": "mlflow:NAME/VERSION with VERSION a whole number",
    "hf": "hf:ORG/NAME@COMMIT with the full 40-digit commit",
    "s3": "s3://BUCKET/KEY@VERSION_ID",
}


def parse_ref(text: str) -> Ref:
    """Return the typed reference that `text` spells.

    Raises:
        ValueError: an unknown scheme or a shape that the scheme does not have; the message says which is expected.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise ValueError(f'unknown reference "{text}" ({nearest(scheme, SCHEMES)})')
    if scheme == "file" and rest and not rest.startswith("//"):
        return FileRef(rest)
    if scheme == "mlflow" and (found := _MLFLOW.fullmatch(rest)):
        return MlflowRef(found["name"], int(found["version"]))
    if scheme == "hf" and (found := _HF.fullmatch(rest)):
        return HfRef(found["repository"], found["commit"])
    if scheme == "s3" and (found := _S3.fullmatch(rest)):
        return S3Ref(found["bucket"], found["key"], found["version_id"])
    raise ValueError(f'"{text}" is not a pinned reference; expected {_SHAPES[scheme]}')
