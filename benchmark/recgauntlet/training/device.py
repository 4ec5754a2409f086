"""The device of a cell, and its description in the record."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from recgauntlet.core.checkout import commit
from recgauntlet.core.errors import DeviceError
from recgauntlet.records.references import Environment

Precision = Literal["auto", "fp32", "bf16"]


def choose_device(name: str) -> torch.device:
    """`auto` (CUDA, then MPS, then CPU) or a device by its torch name.

    Raises
    ------
    DeviceError
        Where the device is unknown or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"{name!r} is not a device", field="--device", remedy="use auto, cpu, cuda, cuda:0 or mps"
        ) from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    missing = not there.get(device.type, False)
    if not missing and device.type == "cuda" and device.index is not None:
        missing = device.index >= torch.cuda.device_count()
    if missing:
        raise DeviceError(
            f"{name!r} is not on this machine",
            field="--device",
            remedy="use --device auto or cpu, or install a torch build and a driver for it",
        )
    return device


def describe(device: torch.device, precision: str) -> Environment:
    """The environment of a cell that runs on `device`."""
    return Environment(
        recgauntlet=version("recgauntlet"),
        commit=commit(),
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=version("transformers"),
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=torch.get_num_threads(),
        precision=precision,
    )


def now() -> str:
    """The time as a record has it: UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def peak_memory(device: torch.device) -> int:
    """Bytes: the device's peak allocation on CUDA, else the process's peak resident set."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def make_deterministic(seed: int) -> None:
    """Seed torch's global generator and ask for deterministic kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(seed)
    # the same as torch.use_deterministic_algorithms, which imports the compiler: more than a second for nothing
    torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
    settings: Any = torch.utils.deterministic
    settings.fill_uninitialized_memory = False  # costs a tenth of the time, and nothing here reads such memory


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def processor_in_words(environment: Environment, devices: int = 1) -> str:
    """Processor, device, threads and how many devices: what two runs must share for their seconds to be compared."""
    several = f" / {devices} devices" if devices > 1 else ""
    return f"{environment.processor} / {environment.device} / {environment.threads}{several}"
