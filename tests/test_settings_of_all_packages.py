"""What core believes of settings that are declared in other packages."""

from __future__ import annotations

from dynamo_core.args import ComponentSettings, ModelSettings, RuntimeSettings
from dynamo_core.args.foreign import OF_OTHER_COMPONENTS
from dynamo_core.args.settings import Settings, declarations
from dynamo_frontend.args import FrontendSettings
from dynamo_mocker.echo import EchoWorkerSettings
from dynamo_mocker.worker import MockerWorkerSettings
from dynamo_sglang.args import SglangSettings
from dynamo_vllm.args import VllmSettings

COMPONENTS: tuple[type[Settings], ...] = (
    FrontendSettings,
    MockerWorkerSettings,
    EchoWorkerSettings,
    VllmSettings,
    SglangSettings,
)


def test_core_knows_the_variables_of_all_components() -> None:
    everything = {d.env for component in COMPONENTS for d in declarations(component).values()}
    shared = {d.env for group in (RuntimeSettings, ComponentSettings) for d in declarations(group).values()}
    assert everything - shared == set(OF_OTHER_COMPONENTS)
    assert {d.env for d in declarations(ModelSettings).values()} <= everything
