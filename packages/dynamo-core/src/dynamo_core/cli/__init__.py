"""The `dynamo` command; one file per subcommand."""
