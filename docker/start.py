"""The container's first program: looks whether the service can work here, then becomes label-studio-sam."""

import os
import sys
from pathlib import Path


def problem() -> str | None:
    """What stands in the way, in one line; None: nothing."""
    for variable in ("SAM_RUNS_DIR", "SAM_EMBEDDINGS_DIR"):
        folder, user = Path(os.environ[variable]), os.getuid()
        if not _is_writable(folder):
            return f"{folder} ({variable}) is not writable for uid {user}: chown -R {user} its volume's folder"
    weights = Path(os.environ["SAM_WEIGHTS_DIR"])
    if not os.access(weights, os.R_OK | os.X_OK):
        return f"{weights} (SAM_WEIGHTS_DIR) is not readable for uid {os.getuid()}: mount a folder that is"
    if os.environ.get("SAM_OFFLINE") != "1" and not _is_writable(weights):
        return f"{weights} (SAM_WEIGHTS_DIR) is not writable: chown -R {os.getuid()} its folder, or SAM_OFFLINE=1"
    if os.environ.get("SAM_DEVICE", "").startswith("cuda"):
        return _gpu_problem()
    return None


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _gpu_problem() -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    return (
        "SAM_DEVICE=cuda, but no GPU can be seen from this container: install the NVIDIA Container Toolkit "
        "and a driver on the host, or take the cpu profile (COMPOSE_PROFILES=cpu)"
    )


if __name__ == "__main__":
    arguments = sys.argv[1:]  # the Dockerfile's CMD, or what was asked for in its place
    if arguments[:1] == ["serve"] and (found := problem()):
        print(f"label-studio-sam: {found}", file=sys.stderr)
        sys.exit(1)
    os.execvp("label-studio-sam", ["label-studio-sam", *arguments])
