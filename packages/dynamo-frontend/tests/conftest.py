pytest_plugins = ["dynamo_core.testing.plugin"]
