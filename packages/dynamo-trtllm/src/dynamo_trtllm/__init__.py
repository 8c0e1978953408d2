"""dynamo-trtllm: TensorRT-LLM as a component. Importing this package does not import TensorRT-LLM."""

__version__ = "0.1.0"
