"""Which of the caller's environment variables a server gets: those that servers need, and those that a region names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from environments.errors import SluiceError

_NAMES = frozenset(
    {
        *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "SSL_CERT_DIR", "SSL_CERT_FILE", "VIRTUAL_ENV"),
        *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "TRANSFORMERS_OFFLINE"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONPATH", "PYTHONUNBUFFERED"),
    }
)
_FAMILIES = (
    *("LC_", "XDG_", "MALLOC_", "CUDA_", "NVIDIA_", "NCCL_", "ROCM_", "ROCR_", "HIP_", "HSA_", "VLLM_", "TRITON_"),
    *("TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "OMP_", "KMP_", "MKL_", "OPENBLAS_"),
)
_SECRET = re.compile("(^|_)(API)?(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(_|$)", re.IGNORECASE)
"""What a family's variable is never called unless it is a secret, such as VLLM_API_KEY: a region has to name that."""


def inherited(environ: Mapping[str, str], named: Collection[str] = (), *, where: str = "") -> dict[str, str]:
    """Return what a server gets of the environment `environ`; `named` is the region's `serve_env`.

    Whoever runs a command may hold keys to a cloud or a registry, and a server, which answers to strangers, must not.

    Raises:
        SluiceError: `PLAT-016` a named variable is not set.
    """
    missing = sorted(set(named) - set(environ))
    if missing:
        raise SluiceError(
            "PLAT-016",
            where=where,
            what=f"the variable {missing[0]} is not set",
            why="the region's `serve_env` says that its servers need it",
            do=f"export {missing[0]}, or take it out of `serve_env`",
        )
    return {name: value for name, value in environ.items() if name in named or _is_needed(name)}


def _is_needed(name: str) -> bool:
    return name in _NAMES or (name.startswith(_FAMILIES) and not _SECRET.search(name))
