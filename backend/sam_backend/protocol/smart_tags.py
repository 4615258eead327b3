"""What a labeling config lacks for smart clicks, and the config with it: tags are added, none is changed or removed."""

from xml.sax.saxutils import quoteattr

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.labeling_config import LabelingConfig

NAMES = {"Brush": "sam_mask", "KeyPoint": "sam_point", "Rectangle": "sam_box"}


def missing_tags(xml: str) -> tuple[str, ...]:
    """The tags that are to be added, such as `Brush` and `KeyPoint`; none where everything is there.

    Raises:
        LabelingConfigError: no config that can be read, or one without an `<Image>`.
    """
    config = LabelingConfig.from_xml(xml)
    image = config.image().name
    kinds = {tag.kind.removesuffix("labels") for tag in config.controls if image in tag.to_names}
    missing = [] if "brush" in kinds else ["Brush"]
    missing += [kind for kind in ("KeyPoint", "Rectangle") if kind.lower() not in kinds]
    return tuple(missing)


def with_smart_tags(xml: str) -> str:
    """The config with the tags that are missing, for the labels that it has.

    With a `<Labels>` palette plain tags are added, which share it; else tags with labels of their own.

    Raises:
        LabelingConfigError: as `missing_tags`, or no place to put them.
    """
    missing = missing_tags(xml)
    if not missing:
        return xml
    config = LabelingConfig.from_xml(xml)
    image = config.image().name
    has_palette = any(tag.kind == "labels" and image in tag.to_names for tag in config.controls)
    labels = tuple(dict.fromkeys(label for tag in config.controls for label in tag.labels)) or ("Object",)
    added = "".join(_tag(name, image, () if has_palette else labels) for name in missing)
    head, closing, tail = xml.rpartition("</View>")
    if not closing:
        raise LabelingConfigError("the labeling config has no closing </View>: there is no place for further tags")
    return f"{head.rstrip()}\n{added}{closing}{tail}"


def _tag(kind: str, image: str, labels: tuple[str, ...]) -> str:
    smart = 'smart="false"' if kind == "Brush" else 'smart="true" smartOnly="true"'
    head = f'name="{NAMES[kind]}" toName={quoteattr(image)} {smart}'
    if not labels:
        return f"  <{kind} {head}/>\n"
    inner = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in labels)
    return f"  <{kind}Labels {head}>\n{inner}  </{kind}Labels>\n"
