"""The models that the settings name: the default one, and those that projects may ask for."""

import logging
from dataclasses import replace

from sam_backend.segmenter.choice import ModelChoice, choose_model
from sam_backend.segmenter.saved_choice import saved_model
from sam_backend.settings import MIB, Settings, SettingsError
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)


def default_choice(settings: Settings, store: WeightStore) -> ModelChoice:
    """Return the model that was chosen on the page, otherwise that of SAM_MODEL.

    Raises:
        SettingsError: as `choose_model`.
    """
    saved = saved_model(settings)
    if saved is not None:
        try:
            choice = choose_model(replace(settings, model=saved), store)
        except SettingsError as error:
            logger.warning("could not use the model that was chosen on the page: %s; SAM_MODEL counts", error)
        else:
            logger.info("%s was chosen on the page, in place of SAM_MODEL=%s", saved, settings.model)
            return replace(choice, fallback=choose_model(settings, store))
    return choose_model(settings, store)


def choices_for_projects(settings: Settings, store: WeightStore) -> dict[str, ModelChoice]:
    """Return the models of SAM_MODELS by name.

    Raises:
        SettingsError: one of them is not a segmenter, two have the same name, or one is larger than SAM_MODELS_MIB.
    """
    choices: dict[str, ModelChoice] = {}
    for name in settings.models:
        try:
            choice = choose_model(replace(settings, model=name), store)
        except SettingsError as error:
            raise SettingsError(str(error).replace("SAM_MODEL=", "SAM_MODELS: ", 1)) from None
        if choice.name in choices:
            raise SettingsError(f"SAM_MODELS: {name!r} is {choice.name}, which is named twice; name each model once")
        size_mib = choice.weights_bytes() / MIB
        if size_mib > settings.models_mib:
            raise SettingsError(
                f"SAM_MODELS: the weights of {name!r} have {size_mib:.0f} MiB; SAM_MODELS_MIB={settings.models_mib}"
            )
        choices[choice.name] = choice
    return choices
