"""Which counters the DCGM exporter reads: those that alerts and dashboards ask for. Pure."""

from __future__ import annotations

# name, kind, help: the exporter's own format. Source: NVIDIA DCGM, field identifiers.
_FIELDS = (
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization in percent"),
    ("DCGM_FI_DEV_FB_USED", "gauge", "Frame buffer memory used in MiB"),
    ("DCGM_FI_DEV_FB_FREE", "gauge", "Frame buffer memory free in MiB"),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw in W"),
    ("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock in MHz"),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature in degrees Celsius"),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Memory temperature in degrees Celsius"),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", "Code of the last XID error"),
    ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "counter", "Double-bit errors since the driver started"),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Rows remapped after uncorrectable errors"),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed"),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Share of time that the graphics engine is active"),
    ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Share of cycles that the tensor pipe is active"),
    ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", "Share of cycles that device memory is active"),
)
NAMES = frozenset(name for name, _, _ in _FIELDS)
COUNTERS = "".join(f"{name}, {kind}, {text}.\n" for name, kind, text in _FIELDS)
