"""Where tests find the real engines, and what to say when one is not there."""

from __future__ import annotations

from pathlib import Path

from tests.support.lifeline import missing

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"


def require_vllm() -> tuple[str, ...]:
    """Return the `serve_command` of the real vLLM."""
    from reconciler.demo.engines import is_installed, serve_command

    if not is_installed(CACHE):
        missing("vLLM for CPU is not installed", "run `make vllm` (5.8 GB, about a minute)")
    return serve_command(CACHE)


def require_triton() -> tuple[str, ...]:
    """Return the `serve_command` of the real Triton."""
    from reconciler.demo.triton_engine import ensure_triton, is_installed

    if not is_installed(CACHE):
        missing("Triton is not installed", "run `make triton` (0.35 GB, half a minute)")
    return (str(ensure_triton(CACHE, print)),)
