"""Words in the editor, over HTTP; the classical detector knows `person` and `face`, and finds the astronaut's."""

from pathlib import Path
from typing import Any

import pytest

from sam_backend.preannotation.own_detectors import own_text_detectors
from sam_backend.preannotation.text_detectors import text_detector_name
from sam_backend.settings import Settings
from sam_model.weights.store import WeightStore
from sam_testing.label_studio import Json, predict_request, setup_request
from sam_testing.service import SamService

PHOTO = Path("examples/photos/astronaut.jpg")


def config(tag: str, *labels: str, text: str = "") -> str:
    inner = "".join(f"<Label {label}/>" for label in labels)
    return f"""<View><Image name="image" value="$image"/><{tag} name="out" toName="image">{inner}</{tag}>
<TextArea name="words" toName="image" {text}/></View>"""


def typed(*lines: str) -> Json:
    """Return the result of a `<TextArea>` as the editor of Label Studio 1.23.2 sends it."""
    value = {"text": [f"{line}\n" for line in lines]}
    names = {"id": "3uee8BqlpC", "from_name": "words", "to_name": "image"}
    return {**names, "type": "textarea", "origin": "manual", "value": value}


def service(**settings: Any) -> SamService:
    made = SamService(Settings(**settings))
    made.fake_fetcher.images["/data/upload/1/image.png"] = PHOTO.read_bytes()
    return made


def answer_and_reason(made: SamService, labeling_config: str, *lines: str) -> tuple[Json, str]:
    answer = made.predict(predict_request([typed(*lines)], labeling_config))
    return answer, made.client.get("/api/clicks").get_json()["clicks"][0]["reason"]


def test_words_give_all_their_objects_with_the_label_they_mean_in_the_configs_shape() -> None:
    labeling_config = config("RectangleLabels", 'value="Human" hint="face"', 'value="Rocket"')
    made = service(text_detector="classical")

    answer, reason = answer_and_reason(made, labeling_config, "face")
    again, _ = answer_and_reason(made, labeling_config, "Face")
    other, _ = answer_and_reason(made, labeling_config, "face = rocket")

    (region,) = answer["result"]
    assert (region["type"], region["value"]["rectanglelabels"], region["from_name"]) == (
        "rectanglelabels",
        ["Human"],
        "out",
    )
    assert (region["original_width"], region["original_height"]) == (512, 512)
    assert 0.25 <= region["score"] <= 1
    assert reason == ""
    assert again["result"][0]["id"] != region["id"]
    assert other["result"][0]["value"]["rectanglelabels"] == ["Rocket"]
    assert answer == answer_and_reason(made, labeling_config, "face")[0]  # Label Studio may ask twice
    click = made.client.get("/api/clicks").get_json()["clicks"][0]
    assert (click["prompts"], click["result"]) == ("words 'face'", "1 object")
    assert click["milliseconds"].keys() >= {"parse", "fetch", "detect", "total"}


def test_words_that_mean_no_label_or_no_class_are_listed_and_the_others_answered() -> None:
    labels = 'value="Human" hint="face"', 'value="Rocket"'
    made = service(text_detector="classical")

    answer, reason = answer_and_reason(made, config("BrushLabels", *labels), "blue thing, face")
    unknown, no_class = answer_and_reason(made, config("BrushLabels", *labels), "rocket, face")
    nothing, not_there = answer_and_reason(made, config("BrushLabels", *labels), "person=Human")

    assert [region["value"]["brushlabels"] for region in answer["result"]] == [["Human"]]
    assert "'blue thing' is not a label of the config" in reason
    assert [region["value"]["brushlabels"] for region in unknown["result"]] == [["Human"]]
    assert "text 'rocket' is not a class of classical; known classes: person, face" in no_class
    assert nothing["result"] == []
    assert "found nothing for person" in not_there


def test_a_label_that_is_no_class_stands_for_its_predicted_values() -> None:
    labels = 'value="Astronaut" predicted_values="face,dog"', 'value="Rocket"'
    made = service(text_detector="classical")

    by_label, reason = answer_and_reason(made, config("BrushLabels", *labels), "astronaut")
    other, _ = answer_and_reason(made, config("BrushLabels", *labels), "helmet=Astronaut")

    assert [region["value"]["brushlabels"] for region in by_label["result"]] == [["Astronaut"]]
    assert reason == ""
    assert other["result"] == []


def test_without_a_text_detector_the_answer_is_empty_and_the_list_says_why() -> None:
    answer, reason = answer_and_reason(service(), config("BrushLabels", 'value="Human"'), "face")

    assert answer["result"] == []
    assert "no detector finds what words describe" in reason
    assert "SAM_TEXT_DETECTOR" in reason


def test_the_projects_detector_thresholds_and_shape_count() -> None:
    made = service()
    ellipse = '<EllipseLabels name="e" toName="image"><Label value="Human"/></EllipseLabels></View>'
    labeling_config = config("BrushLabels", 'value="Human"').replace("</View>", ellipse)
    setup = setup_request(labeling_config)

    made.client.post("/setup", json={**setup, "extra_params": {"detector": "classical", "sam_output": "ellipse"}})
    found, _ = answer_and_reason(made, labeling_config, "face")
    made.client.post("/setup", json={**setup, "extra_params": {"detector": "classical", "score_threshold": 1}})
    none, _ = answer_and_reason(made, labeling_config, "face")

    assert [region["type"] for region in found["result"]] == ["ellipselabels"]
    assert none["result"] == []


@pytest.mark.parametrize("text", ['smart="false"', 'perRegion="true"'])
def test_a_text_for_another_purpose_is_no_prompt(text: str) -> None:
    made = service(text_detector="classical")

    answer, reason = answer_and_reason(made, config("BrushLabels", 'value="Human"', text=text), "face")

    assert answer["result"] == []
    assert "its words are no prompt" in reason


def test_the_text_detector_is_the_projects_or_that_of_the_settings_or_a_folder_of_the_weights(tmp_path: Path) -> None:
    store = WeightStore(tmp_path, is_offline=True)
    for name, kind in (("owl", "owlv2"), ("dino", "grounding-dino"), ("other", "bert")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("[")

    assert list(own_text_detectors(store)) == ["dino", "owl"]
    assert text_detector_name("yolov8n", Settings(text_detector="x"), store) == "yolov8n"
    assert text_detector_name("everything", Settings(text_detector="x"), store) == "x"
    assert text_detector_name(None, Settings(detector="y"), store) == "dino"
    empty = WeightStore(tmp_path / "other", is_offline=True)
    assert text_detector_name(None, Settings(detector="y"), empty) == "y"
    assert text_detector_name(None, Settings(detector="boxes"), empty) is None


def test_words_and_a_detector_in_the_extra_parameters_give_an_opened_task_its_objects() -> None:
    made = service()
    labeling_config = config("BrushLabels", 'value="Human" hint="face"')
    setup = setup_request(labeling_config)
    opened = predict_request(None, labeling_config)

    wanted = {"detector": "classical", "text": "face", "model": "classical"}
    answer = made.client.post("/setup", json={**setup, "extra_params": wanted}).get_json()
    prediction = made.predict(opened)
    clicks = made.parts.projects.clicks(1)
    made.client.post("/setup", json={**setup, "extra_params": {**wanted, "text": "moon"}})
    unknown_class = made.client.post("/predict", json=opened).get_json()
    made.client.post("/setup", json={**setup, "extra_params": {"text": "face=Animal"}})
    no_detector = made.parts.projects.problem

    assert [region["value"]["brushlabels"] for region in prediction["result"]] == [["Human"]]
    assert prediction["model_version"] == answer["model_version"]
    assert str(clicks).endswith("; an opened task gets the predictions of classical for 'face'")
    assert "'moon' is not a class of classical" in str(unknown_class)
    assert no_detector is not None
    assert "no detector finds what words describe" in no_detector


def test_words_that_mean_no_label_are_a_problem_of_the_extra_parameters() -> None:
    made = service(text_detector="classical")
    setup = setup_request(config("BrushLabels", 'value="A"', 'value="B"'))

    made.client.post("/setup", json={**setup, "extra_params": {"text": "face"}})

    problem = made.parts.projects.problem
    assert problem is not None
    assert "'face' is not a label of the config" in problem
