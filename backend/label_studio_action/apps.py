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

        from label_studio_action.preannotate import TITLE, form, preannotate_with_sam

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
