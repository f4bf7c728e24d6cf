"""A server that speaks S3, in this process, with what boto3 needs to find it; nothing leaves the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def running_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve until the block ends, with empty buckets; yields the address, which this process's clients use."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        import httpx

        httpx.post(f"{url}/moto-api/reset").raise_for_status()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield url
    finally:
        server.stop()


def s3_client() -> Any:
    """Return a client as whoever writes behind Sluice's back has one."""
    import boto3

    return boto3.client("s3", region_name="us-east-1")


def keys(bucket: str) -> list[str]:
    """Return the keys of all objects in a bucket."""
    return [row["Key"] for row in s3_client().list_objects_v2(Bucket=bucket).get("Contents", [])]
