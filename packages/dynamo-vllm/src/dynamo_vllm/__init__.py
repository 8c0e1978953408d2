"""dynamo-vllm: vLLM as a component. Importing this package does not import vLLM."""

__version__ = "0.1.0"
