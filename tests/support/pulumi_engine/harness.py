"""Runs the real Pulumi CLI in a stack's folder as a user does, with providers that are tests' own.

Imports the engines' catalog. Called by engine tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.builds.catalog import ROOT, built
from tests.support.go_programs import GO_ENVIRONMENT
from tests.support.kubernetes.api import Cluster
from tests.support.lifeline import dies_with_parent, missing
from tests.support.pulumi_engine.aws_cloud import AwsCloud

_START_S = 120.0
_COMMAND_S = 900.0
_QUIET = ("--non-interactive", "--color", "never", "--suppress-permalink")
_SALT = re.compile(r"^encryptionsalt: .*$", re.MULTILINE)
_OWN_SECRETS = re.compile(r"^(secretsprovider|encryptedkey|encryptionsalt): .*\n?", re.MULTILINE)
_FOREIGN = ("AWS_", "PULUMI_", "KUBE", "GRPC_")


@dataclass(frozen=True)
class Outcome:
    """What one command did. `seconds` is for reports; no test compares it with a limit of its own."""

    command: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        """Return everything that the command printed."""
        return f"{self.stdout}\n{self.stderr}"

    def must_succeed(self) -> Outcome:
        """Return itself, or fail the test with what the command printed."""
        assert self.code == 0, f"{' '.join(self.command)}: exit code {self.code}\n{self.text}"
        return self

    def must_fail(self, *texts: str) -> Outcome:
        """Return itself if the command failed and printed every text, or fail the test."""
        assert self.code != 0, f"{' '.join(self.command)} did not fail\n{self.text}"
        for text in texts:
            assert text in self.text, f"{' '.join(self.command)} did not print {text!r}\n{self.text}"
        return self


class PulumiHarness:
    """A Pulumi installation of a test: its own state, plugins and clouds, all under one folder.

    `clusters` maps a part of a cluster's name to a real API server; the longest part that a provider resource's context
    or kubeconfig contains wins, and the part "" fits every name. Not safe to share between threads.
    """

    def __init__(self, home: Path, clusters: Mapping[str, Cluster] | None = None) -> None:
        self.home = home
        self._clusters = dict(clusters or {})
        self._providers: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
        for folder in ("bin", "state", "stacks", "log"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        self.aws = AwsCloud(home / "aws.db")
        self.checkpoints = True
        (home / "clusters.json").write_text(json.dumps({k: asdict(c) for k, c in self._clusters.items()}))
        _write_plugins(home / "bin")

    def preview(self, stack_dir: Path, stack: str, *extra: str) -> Outcome:
        """Run `pulumi preview`."""
        return self.run(stack_dir, "preview", *self._options(stack_dir, stack), *_QUIET, *extra)

    def up(self, stack_dir: Path, stack: str, *extra: str) -> Outcome:
        """Run `pulumi up`, without the preview that a person would look at first."""
        options = self._options(stack_dir, stack)
        return self.run(stack_dir, "up", "--yes", "--skip-preview", *options, *_QUIET, *extra)

    def refresh(self, stack_dir: Path, stack: str, *extra: str) -> Outcome:
        """Run `pulumi refresh`."""
        return self.run(
            stack_dir, "refresh", "--yes", "--skip-preview", *self._options(stack_dir, stack), *_QUIET, *extra
        )

    def destroy(self, stack_dir: Path, stack: str, *extra: str) -> Outcome:
        """Run `pulumi destroy`."""
        return self.run(
            stack_dir, "destroy", "--yes", "--skip-preview", *self._options(stack_dir, stack), *_QUIET, *extra
        )

    def outputs(self, stack_dir: Path, stack: str) -> dict[str, Any]:
        """Return a stack's outputs, secrets included."""
        done = self.run(stack_dir, "stack", "output", "--json", "--show-secrets", "--stack", stack).must_succeed()
        outputs: dict[str, Any] = json.loads(done.stdout)
        return outputs

    def resources(self, stack_dir: Path, stack: str) -> list[dict[str, Any]]:
        """Return the resources in a stack's state, as `pulumi stack export` has them."""
        done = self.run(stack_dir, "stack", "export", "--stack", stack).must_succeed()
        resources: list[dict[str, Any]] = json.loads(done.stdout)["deployment"].get("resources", [])
        return resources

    def run(
        self, stack_dir: Path, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = _COMMAND_S
    ) -> Outcome:
        """Run any `pulumi` command in a folder, with both providers attached.

        Raises:
            subprocess.TimeoutExpired: it took too long; it and what it started are killed.
        """
        environment = self.environment() | dict(env or {})
        command = ("pulumi", *arguments)
        began = time.monotonic()
        process = subprocess.Popen(
            [str(_program()), *arguments],
            cwd=stack_dir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=dies_with_parent(),
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        finally:
            _end_group(process)
        return Outcome(command, process.returncode, stdout, stderr, time.monotonic() - began)

    def close(self) -> None:
        """End the providers."""
        for process, _ in self._providers.values():
            process.kill()
            process.wait()
        self._providers.clear()

    def _options(self, stack_dir: Path, stack: str) -> tuple[str, ...]:
        """Make the stack if it is not there, and return how to name it and its configuration.

        The engine writes a salt into a stack's file; the one that is committed stays as it is, so a copy is used.
        """
        project = stack_dir.resolve()
        shadow = self.home / "stacks" / _project_name(project)
        file = shadow / f"Pulumi.{stack}.yaml"
        shadow.mkdir(exist_ok=True)
        shutil.copyfile(project / "Pulumi.yaml", shadow / "Pulumi.yaml")
        if not file.exists():
            self.run(shadow, "stack", "init", "--no-select", "--stack", stack, "--non-interactive").must_succeed()
        salt = _SALT.search(file.read_text()) if file.exists() else None
        committed = project / file.name
        own = _OWN_SECRETS.sub("", committed.read_text()) if committed.exists() else ""
        file.write_text(f"{own}\n{salt[0] if salt else ''}\n")
        return ("--stack", stack, "--config-file", str(file))

    def environment(self) -> dict[str, str]:
        """Return the variables with which anything that calls Pulumi finds this installation."""
        own = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        ports = {name: self._port(name) for name in ("aws", "kubernetes")}
        return own | {
            "PATH": os.pathsep.join([str(self.home / "bin"), str(built() / "bin"), os.environ.get("PATH", "")]),
            "PULUMI_HOME": str(self.home / "pulumi"),
            "PULUMI_BACKEND_URL": f"file://{self.home / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
            "PULUMI_DEBUG_PROVIDERS": ",".join(f"{name}:{port}" for name, port in ports.items()),
            "GRPC_VERBOSITY": "NONE",
            **GO_ENVIRONMENT,
            **({} if self.checkpoints else {"PULUMI_EXPERIMENTAL": "1", "PULUMI_SKIP_CHECKPOINTS": "1"}),
        }

    def _port(self, name: str) -> int:
        """Return where a provider listens; start it if it has never run or has died."""
        if name in self._providers and self._providers[name][0].poll() is None:
            return self._providers[name][1]
        argument = self.home / ("aws.db" if name == "aws" else "clusters.json")
        command = [sys.executable, "-m", f"tests.support.pulumi_engine.{name}_provider", str(argument)]
        with (self.home / "log" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"GRPC_VERBOSITY": "NONE"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                preexec_fn=dies_with_parent(),
            )
        port = _first_number(process, what=f"the {name} provider", log=self.home / "log" / f"{name}.log")
        self._providers[name] = (process, port)
        return port


@contextlib.contextmanager
def pulumi_harness(home: Path, clusters: Mapping[str, Cluster] | None = None) -> Iterator[PulumiHarness]:
    """Make a harness and end its providers when the block ends; skip the test where Pulumi is not built."""
    _program()
    harness = PulumiHarness(home, clusters)
    try:
        yield harness
    finally:
        harness.close()


def _project_name(project: Path) -> str:
    import yaml

    return str(yaml.safe_load((project / "Pulumi.yaml").read_text())["name"])


def _program() -> Path:
    program = built() / "bin" / "pulumi"
    if not program.exists():
        missing("the Pulumi engine is not built", "run `python -m tests.builds.build`, which needs Go")
    return program


def _write_plugins(folder: Path) -> None:
    """Write the program that the engine looks for on PATH; it runs a module of this package."""
    executor = built() / "share" / "pulumi" / "pulumi-language-python-exec"
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.support.pulumi_engine.language_host import main"
    script = folder / "pulumi-language-python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u -c "{start}; main()" "{executor}" "$@"\n')
    script.chmod(0o755)


def _first_number(process: subprocess.Popen[bytes], *, what: str, log: Path) -> int:
    """Read the port that a provider prints first."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _START_S)
    line = process.stdout.readline().strip() if ready else b""
    if not line.isdigit():
        process.kill()
        process.wait()
        raise RuntimeError(f"{what} did not start:\n{log.read_text()[-3000:]}")
    return int(line)


def _end_group(process: subprocess.Popen[str]) -> None:
    """Kill whatever a command left behind in its process group, itself included."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
