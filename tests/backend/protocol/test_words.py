import pytest

from sam_backend.errors import BadRequestError
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.words import Words, label_of_words, parse_words, words_of_labels

CONFIG = """<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">
<Label value="Cat" hint="a small animal" predicted_values="kitten"/>
<Label value="Motor Vehicle" alias="Vehicle"/></BrushLabels></View>"""


def label_of(text: str, config: str = CONFIG) -> str:
    (words,) = parse_words(text)
    return label_of_words(words, LabelingConfig.from_xml(config).controls)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat, red car=Vehicle", [("cat", None), ("red car", "Vehicle")]),
        ("red  ellipse\n", [("red ellipse", None)]),  # as the editor sends it
        ("cat\ndog；bird、fish，cow;ape", [(name, None) for name in ("cat", "dog", "bird", "fish", "cow", "ape")]),
        ("cat, CAT=Dog, ,,", [("cat", None)]),
        ("a=b=C", [("a=b", "C")]),
        ("", []),
    ],
)
def test_descriptions_and_their_labels_are_told_apart(text: str, expected: list) -> None:
    assert parse_words(text) == tuple(Words(*each) for each in expected)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cat, =Vehicle", "'=Vehicle' needs words and a label"),
        ("red car=", "'red car=' needs words"),
        (201 * "a", "more than 200 characters"),
        (",".join(map(str, range(101))), "101 descriptions"),
        (10_001 * ",", "10001 characters"),
    ],
)
def test_a_text_that_cannot_be_parsed_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadRequestError, match=complaint):
        parse_words(text)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("cat", "Cat"),
        ("A Small  Animal", "Cat"),
        ("kitten", "Cat"),
        ("motor vehicle", "Vehicle"),  # Label Studio stores the alias
        ("vehicle", "Vehicle"),
        ("red car=vehicle", "Vehicle"),
        ("cat=Motor Vehicle", "Vehicle"),
    ],
)
def test_words_mean_the_label_with_that_value_alias_hint_or_class(text: str, label: str) -> None:
    assert label_of(text) == label


def test_words_that_mean_no_label_are_refused_with_the_labels() -> None:
    with pytest.raises(BadRequestError, match=r"'red car' is not a label .* 'red car=Cat'; labels: Cat, Vehicle"):
        label_of("red car")
    with pytest.raises(BadRequestError, match="'Car' is not a label of the config; labels: Cat, Vehicle"):
        label_of("red car=Car")


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ('<BrushLabels name="b" toName="image"><Label value="Thing"/></BrushLabels>', "Thing"),
        ('<Brush name="b" toName="image"/>', ""),
        ('<BrushLabels name="b" toName="image" value="$labels"/>', "red car"),
    ],
)
def test_any_words_mean_the_only_label(tag: str, label: str) -> None:
    assert label_of("red car", f'<View><Image name="image" value="$image"/>{tag}</View>') == label


def test_the_words_of_all_labels_are_their_hints_aliases_or_values() -> None:
    config = LabelingConfig.from_xml(
        '<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image">'
        '<Label value="Vehicle" hint="red car"/><Label value="Katze" alias="cat"/><Label value="Dog"/>'
        '<Label value="a, b"/></BrushLabels><KeyPointLabels name="point" toName="image"><Label value="Dog"/>'
        "</KeyPointLabels></View>"
    )

    offered = words_of_labels(config.controls)

    assert offered == "red car, cat, Dog"
    assert [label_of_words(one, config.controls) for one in parse_words(offered)] == ["Vehicle", "cat", "Dog"]
