"""MLflow as our stack runs it: its flags, its image's packages, PostgreSQL, S3, and its Service's name."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from components.model_registry import server_flags
from environments.names import MLFLOW_PORT
from tests.builds.catalog import ROOT
from tests.support.lifeline import dies_with_parent
from tests.support.servers.postgres import running_postgres

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(400)]

SERVICE = f"mlflow.mlflow.svc:{MLFLOW_PORT}"
PAGE = "mlflow.models.example.com"
RECIPE = ROOT / "stacks" / "images" / "mlflow" / "requirements.txt"
START_S = 240.0
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
SEARCH = "/api/2.0/mlflow/experiments/search"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an S3 server with a bucket; yield its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    request(f"{address}/models", method="PUT")
    yield address
    server.stop()


@contextlib.contextmanager
def mlflow(folder: Path, store: str, s3: str, *, extra: tuple[str, ...] = ()) -> Iterator[str]:
    """Run the server with the stack's flags on a free port; yield its address."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "sitecustomize.py").write_text("import tests.support.only_packages\n")
    flags = [
        re.sub(r"^--host=.*", "--host=127.0.0.1", re.sub(r"^--port=.*", "--port=0", f)) for f in server_flags([PAGE])
    ]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *flags,
        "--artifacts-destination=s3://models/mlflow",
        "--workers=1",
        *extra,
    ]
    log = folder / "mlflow.log"
    with log.open("wb") as out:
        environment = surroundings(tools, store, s3)
        process = subprocess.Popen(
            [*command, "--workers=1", *extra],
            stdout=out,
            stderr=out,
            cwd=folder,
            env=environment,
            preexec_fn=dies_with_parent(),
        )
    try:
        yield address(process, log)
    finally:
        process.terminate()
        process.wait()


def surroundings(tools: Path, store: str, s3: str) -> dict[str, str]:
    """Return the environment of the server's container; the credentials stand for pod identity."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tools),
        "PYTHONPATH": f"{tools}{os.pathsep}{ROOT}",
        "SLUICE_ONLY": str(RECIPE),
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_S3_ENDPOINT_URL": s3,
        **{name.upper(): value for name, value in CREDENTIALS.items()},
        "AWS_DEFAULT_REGION": "eu-central-1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the server answers its probe, which asks by the pod's address."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
        if found:
            with contextlib.suppress(OSError):
                request(f"{found[1]}/health")
                return found[1]
        time.sleep(0.2)
    raise RuntimeError(log.read_text(errors="replace")[-3000:])


def request(url: str, *, host: str = "", body: bytes | None = None, method: str | None = None) -> bytes:
    """Return what a server answers to a caller that knows it by `host`."""
    headers = ({"Host": host} if host else {}) | ({"Content-Type": "application/json"} if body else {})
    asked = urllib.request.Request(url, data=body, headers=headers, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        found: bytes = answer.read()
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bucket: str) -> Iterator[str]:
    """Run the server once for this file; yield its address."""
    folder = tmp_path_factory.mktemp("mlflow")
    with running_postgres() as postgres, mlflow(folder, postgres.new_database(), bucket) as found:
        yield found


@pytest.mark.parametrize("host", [SERVICE, "mlflow.mlflow.svc", f"mlflow.mlflow:{MLFLOW_PORT}", PAGE])
def test_it_answers_to_the_names_by_which_it_is_called(server: str, host: str) -> None:
    found = request(f"{server}{SEARCH}", host=host, body=b'{"max_results": 1}')
    assert json.loads(found)["experiments"]


def test_it_refuses_a_name_that_is_not_its_own(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        request(f"{server}{SEARCH}", host="evil.example.com", body=b'{"max_results": 1}')


def test_artifacts_travel_through_it_into_the_bucket(server: str, bucket: str) -> None:
    url = f"{server}/api/2.0/mlflow-artifacts/artifacts/1/run/model.txt"
    request(url, host=SERVICE, body=b"weights", method="PUT")
    assert request(url, host=SERVICE) == b"weights"
    client = boto3.client("s3", "eu-central-1", endpoint_url=bucket, **CREDENTIALS)
    assert client.get_object(Bucket="models", Key="mlflow/1/run/model.txt")["Body"].read() == b"weights"


def test_a_flag_that_needs_a_package_beyond_the_image_stops_it(tmp_path: Path, bucket: str) -> None:
    """Show that the image is really all that this server has: the flag that once crashed it still does."""
    with running_postgres() as postgres:
        started = mlflow(tmp_path, postgres.new_database(), bucket, extra=(f"--expose-prometheus={tmp_path}",))
        with pytest.raises(RuntimeError, match="prometheus"):
            started.__enter__()
