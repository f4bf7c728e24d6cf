"""The language host that the engine starts for `runtime: python`: runs programs and policy packs with this interpreter.

Imports the Pulumi SDK's protocol. Started by the engine, through a script on PATH that `harness.py` writes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from tests.support.lifeline import dies_with_parent

_SHOWN_TO_THE_USER = 32
# Runs a file or a module in a process that dies with this one. Not a `preexec_fn`: this process has gRPC's threads, and
# code that runs between fork and exec of such a process may crash.
_MORTAL = (
    sys.executable,
    "-u",
    "-c",
    "import ctypes, gc, runpy, signal, sys\n"
    "gc.set_threshold(100_000)\n"  # it lives for seconds: looking for garbage while it imports is a tenth of them
    "ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))\n"
    "what = sys.argv.pop(1)\n"
    "sys.argv[0] = what\n"
    "runpy.run_path(what, run_name='__main__') if '/' in what else runpy.run_module(what, run_name='__main__')",
)


class Host(language_pb2_grpc.LanguageRuntimeServicer):
    """Answers what the engine asks of a language; only `Run` does anything."""

    def __init__(self, engine: str, executor: str) -> None:
        self._engine = engine
        self._executor = executor

    def Handshake(self, request: object, context: object) -> language_pb2.LanguageHandshakeResponse:
        """Agree to everything."""
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: object, context: object) -> plugin_pb2.PluginInfo:
        """Return a version."""
        return plugin_pb2.PluginInfo(version="1.0.0")

    def About(self, request: object, context: object) -> language_pb2.AboutResponse:
        """Return which Python runs the programs."""
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def GetRequiredPackages(self, request: object, context: object) -> language_pb2.GetRequiredPackagesResponse:
        """Return none: the providers are attached, so there is nothing to fetch."""
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(self, request: object, context: object) -> language_pb2.GetRequiredPluginsResponse:
        """Return none, as above, for older engines."""
        return language_pb2.GetRequiredPluginsResponse()

    def GetProgramDependencies(self, request: object, context: object) -> language_pb2.GetProgramDependenciesResponse:
        """Return none."""
        return language_pb2.GetProgramDependenciesResponse()

    def InstallDependencies(
        self, request: object, context: object
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Install nothing: everything is in this interpreter's environment."""
        return iter(())

    def Cancel(self, request: object, context: object) -> empty_pb2.Empty:
        """Agree; the program ends with this process."""
        return empty_pb2.Empty()

    def Run(self, request: language_pb2.RunRequest, context: object) -> language_pb2.RunResponse:
        """Run the program to its end."""
        program = os.path.join(request.info.program_directory, request.info.entry_point)
        command = [*_MORTAL, self._executor, *self._flags(request), program]
        config = {"PULUMI_CONFIG": json.dumps(dict(request.config))}
        secret = {"PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys))}
        done = subprocess.run(command, env=os.environ | config | secret, check=False)
        match done.returncode:
            case 0:
                return language_pb2.RunResponse()
            case code if code == _SHOWN_TO_THE_USER:
                return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error=f"the program ended with exit code {done.returncode}")

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a policy pack until the engine hangs up, and pass on what it prints; its first line is its port."""
        if request.kind != "analyzer":
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f'this host runs policy packs, not "{request.kind}" plugins')
        process = subprocess.Popen(
            [*_MORTAL, "pulumi.policy", *request.args, request.info.program_directory],
            cwd=request.pwd,
            env=dict(entry.split("=", 1) for entry in request.env),
            stdout=subprocess.PIPE,
        )
        context.add_callback(process.kill)
        assert process.stdout is not None
        for line in process.stdout:
            yield language_pb2.RunPluginResponse(stdout=line)
        yield language_pb2.RunPluginResponse(exitcode=process.wait())

    def _flags(self, request: language_pb2.RunRequest) -> list[str]:
        flags = {
            "--monitor": request.monitor_address,
            "--engine": self._engine,
            "--project": request.project,
            "--stack": request.stack,
            "--pwd": request.pwd,
            "--dry_run": "true" if request.dryRun else "false",
            "--parallel": str(request.parallel),
            "--organization": request.organization,
            "--root_directory": request.info.root_directory,
        }
        return [part for flag in flags.items() if flag[1] for part in flag]


def main() -> None:
    """Serve on a free port, print it, and end when the engine ends this process or dies."""
    dies_with_parent()()
    signal.signal(signal.SIGINT, _end)  # how the engine ends its plugins
    signal.signal(signal.SIGTERM, _end)
    *_, executor, engine = sys.argv
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(engine, executor), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def _end(number: int, frame: object) -> None:
    """End at once: nothing here needs to be put away, and what it started dies with it."""
    os._exit(0)


if __name__ == "__main__":
    main()
