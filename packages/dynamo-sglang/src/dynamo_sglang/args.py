"""The settings of SGLang's components; every other flag is SGLang's own."""

from __future__ import annotations

from dynamo_core.args import ComponentSettings, ModelSettings, RuntimeSettings


class SglangSettings(ModelSettings, ComponentSettings, RuntimeSettings):
    "The settings of an SGLang component"
