"""What a component declares, and what becomes of many: deployment, graph, plan."""

from dynamo_core.deploy.deployment import BaseDeployment

__all__ = ["BaseDeployment"]
