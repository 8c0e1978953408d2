"""What core believes of settings that are declared in other packages."""

from __future__ import annotations

from dynamo_core.args import ComponentSettings, ModelSettings, RuntimeSettings
from dynamo_core.args.foreign import OF_OTHER_COMPONENTS
from dynamo_core.args.settings import declarations
from dynamo_core.deploy.describe import load
from dynamo_core.deploy.installed import components


def test_core_knows_the_variables_of_all_components() -> None:
    ours = [module for module in components().values() if module.startswith("dynamo_")]
    assert len(ours) >= 10
    everything = {d.env for module in ours for d in declarations(load(module).parser().settings).values()}
    shared = {d.env for group in (RuntimeSettings, ComponentSettings) for d in declarations(group).values()}
    assert everything - shared == set(OF_OTHER_COMPONENTS)
    assert {d.env for d in declarations(ModelSettings).values()} <= everything
