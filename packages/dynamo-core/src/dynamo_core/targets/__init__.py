"""What a plan can be written as, for others to run: one file for each target."""

from dynamo_core.targets.target import Files, Rendering, Target, find_target, target_names

__all__ = ["Files", "Rendering", "Target", "find_target", "target_names"]
