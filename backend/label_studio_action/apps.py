"""The Django app that adds the action to the Data Manager's menu."""

from django.apps import AppConfig


class LabelStudioActionConfig(AppConfig):
    """The app's configuration."""

    name = "label_studio_action"
    verbose_name = "Pre-annotate with SAM"

    def ready(self) -> None:
        """Register the action; Label Studio's modules can be imported only now."""
        from core.permissions import all_permissions
        from data_manager.actions import register_action

        from label_studio_action.preannotate import (
            SIMILAR_TITLE,
            TITLE,
            find_similar_with_sam,
            form,
            preannotate_with_sam,
            similar_form,
        )

        register_action(
            preannotate_with_sam,
            TITLE,
            order=89,  # before "Retrieve Predictions"
            permission=all_permissions.predictions_any,
            dialog={
                "title": TITLE,
                "text": "A run of the SAM backend writes predictions for the selected tasks. Annotations and other "
                "models' predictions stay as they are. The backend's page shows the progress.",
                "type": "confirm",
                "form": form,
            },
        )
        register_action(
            find_similar_with_sam,
            SIMILAR_TITLE,
            order=90,
            permission=all_permissions.predictions_any,
            dialog={
                "title": SIMILAR_TITLE,
                "text": "A run of the SAM backend finds what is annotated in the selected tasks in the tasks without "
                "annotations, and writes predictions. Annotate all objects of a label in these tasks: what is left "
                "out counts as background.",
                "type": "confirm",
                "form": similar_form,
            },
        )
