"""The command line `label-studio-sam`."""


def main() -> int:
    """Run one command and return its exit code."""
    return 0
