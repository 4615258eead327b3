"""The commands of `label-studio-sam`, one a file: `add_arguments(parser)` and `run(args) -> exit code`."""
