"""dynamo-mocker: the runtime's simulated engine as a component, for people without a GPU."""

__version__ = "0.1.0"
