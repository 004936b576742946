"""What all models share: ids, and constraints that limit columns to their choices.

Ids are UUIDv7, so that they sort by time of creation and new rows land at the end of each index.
"""

import uuid

from django.db import models
from django.db.models import Q
from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """Return a new UUIDv7."""
    return uuid7()


def one_of(field: str, choices: type[models.TextChoices], name: str) -> models.CheckConstraint:
    """Return a constraint that limits a text column to its choices, also for writers other than Django."""
    return models.CheckConstraint(condition=Q(**{f"{field}__in": choices.values}), name=name)
