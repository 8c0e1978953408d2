"""The settings of the simulated engine, and what they are in its own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dynamo_core.args import (
    ComponentSettings,
    DecodeSettings,
    ModelSettings,
    RoutedSettings,
    RuntimeSettings,
    Settings,
    setting,
)
from dynamo_core.errors import UserError
from dynamo_core.handlers.card import Role
from dynamo_core.models import check_model

OWN = {
    "block_size": "--block-size",
    "speedup_ratio": "--speedup-ratio",
    "enable_prefix_caching": "--kv-events",
    "worker_type": "the component",
}
"""The simulated engine's arguments that follow from somewhere else than its file."""


class SimulationSettings(Settings):
    "Simulated engine"

    block_size: int = setting(16, "Tokens per KV block.", ge=1)
    speedup_ratio: float = setting(
        1.0, "How many times as fast as the GPU that is simulated.", gt=0, allow_inf_nan=False
    )
    engine_args_file: Path | None = setting(
        None, "JSON file with the mocker's own arguments, for all that has no flag.", metavar="FILE"
    )


class MockerSettings(SimulationSettings, ModelSettings, ComponentSettings, RuntimeSettings):
    "The settings of every mocker component"


class MockerWorkerSettings(RoutedSettings, MockerSettings):
    "The settings of dynamo-mocker-worker and dynamo-mocker-prefill"


class MockerDecodeSettings(DecodeSettings, MockerSettings):
    "The settings of dynamo-mocker-decode"


def check(settings: MockerSettings) -> None:
    """Raise `UserError` for a model or a file that cannot be used."""
    check_model(settings.model)
    _read(settings)


def facts(settings: MockerSettings) -> dict[str, Any]:
    """What a planner has to know besides the deployment class."""
    return {"block_size": settings.block_size}


def engine_config(settings: MockerSettings, role: Role) -> dict[str, Any]:
    """The configuration that the settings and their file come to.

    The simulated engine publishes KV events if it keeps prefixes in its cache, and not if it does not;
    as decode it never publishes any.
    """
    given = _read(settings)
    publishes = isinstance(settings, MockerWorkerSettings) and bool(settings.why_kv_events)
    return {
        **given,
        "engine": {
            **given.get("engine", {}),
            "block_size": settings.block_size,
            "speedup_ratio": settings.speedup_ratio,
            "enable_prefix_caching": publishes or role == "decode",
            "worker_type": role,
        },
        # So that a frontend that comes later can ask what is cached already.
        "dynamo": {"enable_local_indexer": publishes, **given.get("dynamo", {})},
    }


def _read(settings: MockerSettings) -> dict[str, Any]:
    """What is in the file; empty without one."""
    file = settings.engine_args_file
    if file is None:
        return {}
    try:
        given = json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"--engine-args-file: there is no file {file}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"--engine-args-file: {file} cannot be read as JSON: {error}") from None
    if not isinstance(given, dict) or not all(
        isinstance(given.get(section, {}), dict) for section in ("engine", "dynamo")
    ):
        raise UserError(
            f"--engine-args-file: {file} has to hold an object, and objects under engine and dynamo",
            fix='write it as {"engine": {"max_num_seqs": 64}}',
        )
    for name in OWN.keys() & given.get("engine", {}).keys():
        raise UserError(
            f"--engine-args-file: {file} has engine.{name}, which follows from {OWN[name]}",
            fix="leave it out of the file",
        )
    return given
