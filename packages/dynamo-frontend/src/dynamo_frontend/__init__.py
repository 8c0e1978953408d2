"""dynamo-frontend: an OpenAI-compatible server and router over the runtime."""

__version__ = "0.1.0"
