"""`label-studio-sam` with small seeded networks under official names: `python -m sam_testing.tiny_catalogue`.

The folder TINY_WEIGHTS has the files that the catalogue describes; SAM_WEIGHTS_DIR and SAM_WEIGHTS_MIRROR may have them
or other ones.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from sam_model import sam_checkpoints
from sam_model.weights import catalog
from sam_testing.seeded_checkpoints import TINY_EFFICIENT_TAM, TINY_MOBILE_SAM, TINY_SAM2, write_seeded_checkpoint

TINY_SIZES = {
    "mobile_sam": replace(TINY_MOBILE_SAM, name="mobile_sam"),
    "sam2.1_hiera_tiny": replace(TINY_SAM2, name="sam2.1_hiera_tiny"),
    "efficienttam_s": replace(TINY_EFFICIENT_TAM, name="efficienttam_s"),
}
COMMAND = [sys.executable, "-m", "sam_testing.tiny_catalogue"]


def write_tiny_files(folder: Path) -> dict[str, Path]:
    """Write the file of each model of the catalogue into a folder; return the paths by model."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        name: write_seeded_checkpoint(folder / catalog.find_weights(name).file, size, seed=number)
        for number, (name, size) in enumerate(TINY_SIZES.items())
    }


def use_tiny_catalogue(folder: Path) -> None:
    """Replace the entries of the catalogue by those of small networks; before other modules import it."""
    from sam_model.weights.store import sha256_of

    def tiny(weights: catalog.WeightFile) -> catalog.WeightFile:
        path = folder / weights.file
        if not path.is_file():
            return weights
        return replace(weights, sha256=sha256_of(path), size=path.stat().st_size)

    entries = tuple(tiny(weights) for weights in catalog.CATALOG)
    for module in list(sys.modules.values()):
        if getattr(module, "CATALOG", None) is catalog.CATALOG and module is not catalog:
            module.CATALOG = entries  # type: ignore[attr-defined]
    catalog.CATALOG = entries
    catalog.find_weights.__defaults__ = (entries,)
    sam_checkpoints.SIZES.update(TINY_SIZES)


if __name__ == "__main__":
    use_tiny_catalogue(Path(os.environ["TINY_WEIGHTS"]))
    from sam_backend.commands.main import main

    sys.exit(main())
