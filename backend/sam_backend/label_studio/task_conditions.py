"""Conditions on tasks, as filters of the Data Manager.

Source: label-studio 1.23.2, data_manager/serializers.py.
"""

from dataclasses import dataclass

from sam_backend.label_studio.client import Json


@dataclass(frozen=True)
class TaskCondition:
    """A condition on a numeric column of the Data Manager, such as `id` `equal` 7."""

    column: str
    operator: str
    value: int

    def to_json(self) -> Json:
        """Return the filter as the Data Manager stores it."""
        return {
            "filter": f"filter:tasks:{self.column}",
            "operator": self.operator,
            "type": "Number",
            "value": self.value,
        }
