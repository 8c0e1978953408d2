"""What a component declares, and what becomes of many: deployment, graph, plan."""

from dynamo_core.deploy.deployment import BaseDeployment
from dynamo_core.deploy.objects import Graph

__all__ = ["BaseDeployment", "Graph"]
