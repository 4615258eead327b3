from pathlib import Path

import pytest

from sam_backend.errors import BadRequestError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import load_detector_of, version_with
from sam_backend.settings import Settings
from sam_model.weights.store import store_from_env


def test_words_are_the_classes_of_a_run_and_what_its_detector_cannot_find_is_named(tmp_path: Path) -> None:
    store = store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": str(tmp_path)})
    asked = RunConfiguration.from_json({"project": 1, "text": "Face", "detector": "classical"})

    detector = load_detector_of(asked, Settings(), store)

    assert detector is not None
    assert detector.class_names == ("Face",)
    unknown = RunConfiguration.from_json({"project": 1, "text": "face, red car", "detector": "classical"})
    with pytest.raises(BadRequestError, match=r"'red car' is not a class of classical; .* person, face"):
        load_detector_of(unknown, Settings(), store)
    with pytest.raises(BadRequestError, match="no detector finds what words describe"):
        load_detector_of(RunConfiguration.from_json({"project": 1, "text": "cat"}), Settings(), store)


def test_predictions_of_an_earlier_search_with_the_same_examples_have_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": str(tmp_path)})

    def version(detector: str) -> str:
        return version_with(RunConfiguration(1, detector=detector), "m", "f", Settings(), store, "same examples")

    before = version("exemplars"), version("classical")
    monkeypatch.setattr("sam_backend.preannotation.loading.SEARCH_VERSION", 0)

    assert version("exemplars") != before[0]
    assert version("classical") == before[1]
