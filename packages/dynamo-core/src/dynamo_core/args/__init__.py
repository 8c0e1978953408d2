"""Settings that are declared once and know where their values came from."""

from dynamo_core.args.engine import Derived, Engine
from dynamo_core.args.engine_options import EngineOptions
from dynamo_core.args.groups import (
    AdapterSettings,
    ComponentSettings,
    DecodeSettings,
    GpuSettings,
    HealthSettings,
    KvEventSettings,
    LocalPrefillSettings,
    ModelSettings,
    ParserSettings,
    RoutedSettings,
    RuntimeSettings,
    StatusSettings,
    StreamSettings,
    TransferHostSettings,
    TransferSettings,
)
from dynamo_core.args.origins import Origin
from dynamo_core.args.parser import Arguments, DynamoFlexibleArgumentParser
from dynamo_core.args.settings import Settings, setting

__all__ = [
    "AdapterSettings",
    "Arguments",
    "ComponentSettings",
    "DecodeSettings",
    "Derived",
    "DynamoFlexibleArgumentParser",
    "Engine",
    "EngineOptions",
    "GpuSettings",
    "HealthSettings",
    "KvEventSettings",
    "LocalPrefillSettings",
    "ModelSettings",
    "Origin",
    "ParserSettings",
    "RoutedSettings",
    "RuntimeSettings",
    "Settings",
    "StatusSettings",
    "StreamSettings",
    "TransferHostSettings",
    "TransferSettings",
    "setting",
]
