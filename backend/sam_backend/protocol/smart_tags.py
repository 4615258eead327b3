"""The tags that a labeling config lacks for smart tools and words. They are added; existing tags are not changed."""

from xml.sax.saxutils import quoteattr

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.labeling_config import SHAPES, LabelingConfig

NAMES = {"Brush": "sam_mask", "KeyPoint": "sam_point", "Rectangle": "sam_box"}

WORDS = """  <TextArea name="sam_words" toName={image} rows="1" showSubmitButton="true" editable="true"
    placeholder="Words for objects, such as: cat, red car=Vehicle"/>
"""


def missing_tags(xml: str) -> tuple[str, ...]:
    """Return the missing tags, such as `Brush` and `KeyPoint`; a brush is missing if no tag takes regions.

    Raises:
        LabelingConfigError: the config is invalid, or has no `<Image>`.
    """
    config = LabelingConfig.from_xml(xml)
    image = config.image().name
    kinds = {tag.kind.removesuffix("labels") for tag in config.controls if image in tag.to_names}
    missing = [] if kinds & set(SHAPES) else ["Brush"]
    missing += [kind for kind in ("KeyPoint", "Rectangle") if kind.lower() not in kinds]
    return tuple(missing)


def has_words(xml: str) -> bool:
    """Return whether a config has a field for words: a `<TextArea>` of its image.

    Raises:
        LabelingConfigError: as in `missing_tags`.
    """
    config = LabelingConfig.from_xml(xml)
    image = config.image().name
    return any(tag.takes_words and image in tag.to_names for tag in config.controls)


def with_smart_tags(xml: str) -> str:
    """Return the config with the missing tags, for its labels, and with a field for words.

    If it has a `<Labels>` palette, plain tags are added, which use the palette; else tags with labels of their own.

    Raises:
        LabelingConfigError: as in `missing_tags`, or the config has no `</View>`.
    """
    missing = missing_tags(xml)
    if not missing and has_words(xml):
        return xml
    config = LabelingConfig.from_xml(xml)
    image = config.image().name
    has_palette = any(tag.kind == "labels" and image in tag.to_names for tag in config.controls)
    labels = tuple(dict.fromkeys(label for tag in config.controls for label in tag.labels)) or ("Object",)
    added = "".join(_tag(name, image, () if has_palette else labels) for name in missing)
    added += "" if has_words(xml) else WORDS.format(image=quoteattr(image))
    head, closing, tail = xml.rpartition("</View>")
    if not closing:
        raise LabelingConfigError("could not add tags to the labeling config: it has no closing </View>")
    return f"{head.rstrip()}\n{added}{closing}{tail}"


def _tag(kind: str, image: str, labels: tuple[str, ...]) -> str:
    smart = 'smart="false"' if kind == "Brush" else 'smart="true" smartOnly="true"'
    head = f'name="{NAMES[kind]}" toName={quoteattr(image)} {smart}'
    if not labels:
        return f"  <{kind} {head}/>\n"
    inner = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in labels)
    return f"  <{kind}Labels {head}>\n{inner}  </{kind}Labels>\n"
