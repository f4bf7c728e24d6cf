"""Servers get what they need of the caller's environment, and no secret that a region does not name."""

from __future__ import annotations

import pytest

from environments.errors import SluiceError
from reconciler.platforms.local.inherited import inherited

NEEDED = {
    "PATH": "/bin",
    "HOME": "/root",
    "LC_ALL": "C",
    "CUDA_VISIBLE_DEVICES": "0",
    "NVIDIA_DRIVER_CAPABILITIES": "all",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": "/x",
    "XDG_CACHE_HOME": "/c",
}
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "1",
    "AWS_SESSION_TOKEN": "2",
    "GITHUB_TOKEN": "3",
    "CI_JOB_JWT": "4",
    "MLFLOW_TRACKING_PASSWORD": "5",
    "SLUICE_STORE": "postgresql://u:p@h/db",
    "DATABASE_URL": "6",
    "HF_TOKEN": "7",
    "VLLM_API_KEY": "8",
    "TRITON_APIKEY": "8",
    "KUBECONFIG": "9",
    "PYTHONSTARTUP": "10",
    "http_proxy": "http://u:p@proxy",
}


def test_needs_come_through_and_secrets_do_not() -> None:
    assert inherited(NEEDED | SECRETS) == NEEDED


def test_a_region_may_name_what_else_its_servers_get() -> None:
    assert inherited(NEEDED | SECRETS, ["HF_TOKEN", "VLLM_API_KEY"]) == NEEDED | {"HF_TOKEN": "7", "VLLM_API_KEY": "8"}


def test_a_named_variable_that_is_not_set_is_an_error() -> None:
    with pytest.raises(SluiceError, match="PLAT-016") as missing:
        inherited(NEEDED, ["HF_TOKEN"], where="prod/local")
    assert "HF_TOKEN" in missing.value.problem.what
