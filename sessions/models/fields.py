"""What all models share: ids, constraints that limit columns to their choices, and the order of keys in JSON.

Ids are UUIDv7, so that they sort by time of creation and new rows land at the end of each index.
"""

import json
import uuid
from collections.abc import Collection, Sequence
from typing import Any, Self

from django.db import models
from django.db.models import Q
from uuid_utils.compat import uuid7

from llm import key_order

#: Of the names that clients give their own sessions and agents.
MAX_CLIENT_NAME_LENGTH = 128


def new_id() -> uuid.UUID:
    """Return a new UUIDv7."""
    return uuid7()


def one_of(field: str, choices: type[models.TextChoices], name: str) -> models.CheckConstraint:
    """Return a constraint that limits a text column to its choices, also for writers other than Django."""
    return models.CheckConstraint(condition=Q(**{f"{field}__in": choices.values}), name=name)


class UniqueIndex(models.Index):
    """An index whose values are unique. Unlike a constraint it can be built beside writers."""

    def create_sql(self, *args: Any, **options: Any) -> Any:
        """Return the statement."""
        statement = super().create_sql(*args, **options)
        statement.template = statement.template.replace("CREATE INDEX", "CREATE UNIQUE INDEX", 1)
        return statement


class KeyOrderField(models.TextField):  # type: ignore[type-arg]
    """The order of keys in JSON columns of the same row, whose type `jsonb` has another (`llm.key_order`)."""

    def __init__(self, *, of: Sequence[str] = (), **options: Any) -> None:
        self.of = of
        super().__init__(**{"null": True, "editable": False, **options})

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Return what migrations need: the column is a text."""
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.TextField", args, options

    def pre_save(self, model_instance: models.Model, add: bool) -> str | None:
        """Return the order of the columns as they are now."""
        order = key_order.outline({name: getattr(model_instance, name) for name in self.of})
        text = json.dumps(order, ensure_ascii=False, separators=(",", ":")) if order else None
        setattr(model_instance, self.attname, text)
        return text


class OrderedModel(models.Model):
    """A model with the field `key_order`: its rows are read with their keys in order."""

    key_order: KeyOrderField

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **options: Any) -> Self:
        """Return a row."""
        row = super().from_db(db, field_names, values, **options)
        if order := row.__dict__.get("key_order"):
            for name, like in json.loads(order).items():
                if name in row.__dict__:
                    setattr(row, name, key_order.arrange(getattr(row, name), like))
        return row
