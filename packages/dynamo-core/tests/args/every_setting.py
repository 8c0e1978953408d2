"""Every group of core's settings in one component."""

from __future__ import annotations

from dynamo_core.args import ComponentSettings, GpuSettings, ModelSettings, RuntimeSettings
from dynamo_core.args.settings import declarations


class WorkerSettings(ModelSettings, GpuSettings, ComponentSettings, RuntimeSettings):
    "Every group of core in one component"


DECLARED = declarations(WorkerSettings)
