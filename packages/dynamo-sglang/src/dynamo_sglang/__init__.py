"""dynamo-sglang: SGLang as a component. Importing this package does not import SGLang."""

__version__ = "0.1.0"
