"""dynamo-core: the room that every component shares. It knows no engine and imports none."""

__version__ = "0.1.0"
