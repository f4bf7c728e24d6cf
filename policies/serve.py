"""The pack's server. The engine names the stack after it has started the pack, so the levels are set then.

Imports pulumi-policy and `policies.pack`. `policies/__main__.py` calls `serve`. It stands in for `PolicyPack(...)`,
which fixes the levels before the stack is known.
"""

from __future__ import annotations

import os
import sys
from concurrent import futures
from importlib import import_module
from pathlib import Path
from typing import Any

from pulumi.runtime.proto import analyzer_pb2_grpc
from pulumi_policy import EnforcementLevel
from pulumi_policy.policy import _PolicyAnalyzerServicer

from environments.errors import SluiceError
from environments.find import environments_folder, known_environments
from policies.pack import HERE, context_of, pack_policies

NAME = "sluice"
_MESSAGE_BYTES = 400 * 1024 * 1024
_WORKERS = 4


class PackServer(_PolicyAnalyzerServicer):
    """Pulumi's own servicer with policies that change when the engine says which stack this is."""

    def __init__(self, stack: str, pack: Path) -> None:
        self._pack = pack
        self._policies = pack_policies(context_of(stack, pack))
        super().__init__(NAME, "0.0.1", self._policies, EnforcementLevel.ADVISORY)

    def ConfigureStack(self, request: Any, context: Any) -> Any:
        """Take the levels of the environment that is called like the stack; without one nothing is previewed."""
        try:
            self._policies[:] = pack_policies(context_of(request.stack, self._pack))
        except SluiceError as error:
            code: Any = import_module("grpc").StatusCode.FAILED_PRECONDITION
            context.abort(code, f"\n{error}")
        return super().ConfigureStack(request, context)


def serve(pack: Path = HERE) -> None:
    """Print a port, and answer the engine until it ends this process; `environments/` is looked for from `pack` up.

    Raises:
        SluiceError: `SPEC-…` the environment file of `PULUMI_STACK` is missing or wrong.
    """
    grpc: Any = import_module("grpc")
    sizes = [("grpc.max_receive_message_length", _MESSAGE_BYTES)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=_WORKERS), options=sizes)
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(PackServer(first_stack(pack), pack), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


def first_stack(pack: Path = HERE) -> str:
    """Return the stack that older engines name, else prod: what `pulumi policy publish` should show."""
    known = known_environments(environments_folder(start=pack))
    return os.environ.get("PULUMI_STACK") or next(iter({"prod"} & set(known) or known), "prod")
