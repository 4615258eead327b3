"""Projects and their pre-annotation, as Label Studio registers them."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sam_backend.errors import BadRequestError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.segmenter.choice import ModelChoice
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.segmenter.models import Models
from sam_backend.service import project_registry
from sam_backend.service.project_registry import (
    MAX_EXTRA_PARAMS_BYTES,
    ProjectRegistry,
    created_seconds,
)
from sam_backend.settings import Settings
from sam_model.weights.store import WeightStore, store_from_env
from sam_testing.disc_segmenter import DiscSegmenter
from sam_testing.yolo_files import write_yolo_file

CREATED_S = 1_700_000_000


def registry(**settings: Any) -> ProjectRegistry:
    models = Models(ModelLoading(ModelChoice("disc", "disc-1", lambda _: DiscSegmenter())))
    return ProjectRegistry(Settings(**settings), models, store_from_env({"SAM_OFFLINE": "1"}))


def test_an_unknown_project_has_no_pre_annotation() -> None:
    projects = registry()

    assert not projects.knows(1)
    assert len(projects) == 0
    assert projects.configuration(1) is None
    assert projects.version_for_setup(1) == "disc-1"


def test_extra_parameters_are_the_fields_of_a_run() -> None:
    projects = registry()

    projects.learn(7, b'{"detector": "everything", "score_threshold": 0.4}', CREATED_S)

    configuration = projects.configuration(7, CREATED_S)
    assert configuration is not None
    assert (configuration.project, configuration.detector, configuration.score_threshold) == (7, "everything", 0.4)
    assert configuration.model == "disc"  # the model that answers clicks, in place of auto


def test_two_projects_of_the_same_number_differ_by_their_creation_time() -> None:
    projects = registry()

    projects.learn(1, b'{"detector": "everything"}', CREATED_S)
    projects.learn(1, b'{"detector": "boxes"}', CREATED_S + 1)

    first, second, newest = (projects.configuration(1, each) for each in (CREATED_S, CREATED_S + 1, None))
    assert first is not None
    assert first.detector == "everything"
    assert second == newest
    assert second is not None
    assert second.detector == "boxes"
    assert not projects.knows(1, CREATED_S + 2)


def test_json_text_in_a_json_string_is_parsed() -> None:
    projects = registry()

    projects.learn(1, json.dumps('{"detector": "boxes"}').encode())

    configuration = projects.configuration(1)
    assert configuration is not None
    assert configuration.detector == "boxes"


@pytest.mark.parametrize("given", [None, b"", b"null", b"{}", b'"  "'])
def test_without_extra_parameters_the_settings_detector_counts(given: bytes | None) -> None:
    without, with_detector = registry(), registry(detector="everything")
    without.learn(1, given)
    with_detector.learn(1, given)

    configuration = with_detector.configuration(1)

    assert without.configuration(1) is None
    assert configuration is not None
    assert configuration.detector == "everything"


def test_extra_parameters_without_a_detector_take_that_of_the_settings() -> None:
    projects = registry(detector="everything")

    projects.learn(1, b'{"score_threshold": 0.6}')

    configuration = projects.configuration(1)
    assert configuration is not None
    assert (configuration.detector, configuration.score_threshold) == ("everything", 0.6)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (b'{"detektor": "boxes"}', "unknown field 'detektor'"),
        (b'{"detector": "/etc/passwd"}', "detector='/etc/passwd' is not one of"),
        (b'{"ray_address": "evil:6379"}', "ray_address is for the command line only"),
        (b"[1]", "the object"),
        (b'"no json"', "'no json' are not JSON"),
        (b"{", "not JSON"),
    ],
)
def test_bad_extra_parameters_are_named_and_setup_answers_with_the_models_version(given: bytes, complaint: str) -> None:
    projects = registry()
    projects.learn(1, given)

    with pytest.raises(BadRequestError, match="extra parameters") as raised:
        projects.configuration(1)

    assert complaint in str(raised.value)
    assert projects.version_for_setup(1) == "disc-1"
    assert projects.problem is not None
    assert projects.problem.startswith("project 1: ")
    projects.learn(1, None)  # corrected
    assert projects.problem is None


def test_extra_parameters_above_the_limit_are_dropped_and_the_project_stays_registered() -> None:
    projects = registry()
    text = json.dumps({"detector": "boxes", "label_map": {"a": "b" * MAX_EXTRA_PARAMS_BYTES}}).encode()

    projects.learn(1, text)

    assert projects.knows(1)
    assert projects.configuration(1) is None
    assert f"{len(text)} bytes; the maximum is {MAX_EXTRA_PARAMS_BYTES}" in (projects.problem or "")


def test_the_version_depends_on_the_fields_and_not_on_project_and_filter() -> None:
    projects = registry()

    versions = [
        projects.version(RunConfiguration.from_json({"project": project, "detector": "boxes", "model": "disc", **more}))
        for project, more in ((1, {}), (2, {"filter": {"sample": 5}}), (1, {"score_threshold": 0.9}))
    ]

    assert versions[0] == versions[1] != versions[2]
    assert versions[0].startswith("label-studio-sam boxes+disc ")


def test_setup_is_answered_in_time_although_the_version_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    projects = registry()
    projects.learn(1, b'{"detector": "boxes"}')
    is_answered = threading.Event()
    compute = projects.version

    def slow(configuration: RunConfiguration) -> str:
        is_answered.wait(30)
        return compute(configuration)

    monkeypatch.setattr(projects, "version", slow)
    monkeypatch.setattr(project_registry, "VERSION_TIMEOUT_S", 0.01)

    assert projects.version_for_setup(1) == "disc-1"
    is_answered.set()
    monkeypatch.setattr(project_registry, "VERSION_TIMEOUT_S", 30)
    assert projects.version_for_setup(1).startswith("label-studio-sam boxes+disc ")


def test_the_segmenter_of_clicks_is_shared_if_the_configuration_names_it() -> None:
    projects = registry()

    assert isinstance(projects.shared_segmenter(RunConfiguration(1)), DiscSegmenter)
    assert isinstance(projects.shared_segmenter(RunConfiguration(1, model="disc")), DiscSegmenter)
    assert projects.shared_segmenter(RunConfiguration(1, model="sam_b")) is None


def test_names_are_checked_against_the_known_ones() -> None:
    projects = registry()

    projects.check_names(RunConfiguration(1))
    with pytest.raises(BadRequestError, match=r"model='best\.pt' is not one of auto"):
        projects.check_names(RunConfiguration(1, model="best.pt"))


@pytest.mark.parametrize(
    "name",
    ["../best.pt", "./best.pt", "folder/best.pt", "{folder}/best.pt", "link.pt", "none.pt", "BEST.PT", "best.pt/", ""],
)
def test_of_the_files_in_the_folder_only_the_bare_name_is_a_detector(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "weights"
    (folder / "folder").mkdir(parents=True)
    for path in (tmp_path / "best.pt", tmp_path / "other.pt", folder / "folder" / "best.pt", folder / "best.pt"):
        write_yolo_file(path)
    (folder / "link.pt").symlink_to(tmp_path / "other.pt")
    models = Models(ModelLoading(ModelChoice("disc", "disc-1", lambda _: DiscSegmenter())))
    projects = ProjectRegistry(Settings(), models, WeightStore(folder, is_offline=True))

    projects.check_names(RunConfiguration(1, detector="best.pt"))
    with pytest.raises(BadRequestError, match=r"detector=.* is not one of auto, everything, .*, best\.pt$"):
        projects.check_names(RunConfiguration(1, detector=name.format(folder=folder)))


def test_the_version_of_an_own_detector_follows_its_file(tmp_path: Path) -> None:
    write_yolo_file(tmp_path / "best.pt")
    models = Models(ModelLoading(ModelChoice("disc", "disc-1", lambda _: DiscSegmenter())))
    projects = ProjectRegistry(Settings(), models, WeightStore(tmp_path, is_offline=True))
    projects.learn(1, b'{"detector": "best.pt"}')

    first = projects.version_for_setup(1)
    write_yolo_file(tmp_path / "best.pt", seed=1)

    assert first.startswith("label-studio-sam best+disc ")
    assert projects.version_for_setup(1) not in (first, "disc-1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14T22:13:20.999999Z", CREATED_S),
        ("2023-11-14T23:13:20+01:00", CREATED_S),
        ("soon", None),
        (None, None),
    ],
)
def test_creation_times_are_whole_seconds(text: str | None, seconds: int | None) -> None:
    assert created_seconds(text) == seconds
