"""An index on the sessions whose rows are still to be deleted."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Sessions go on being used while the index is made.
    atomic = False

    dependencies = [("agent_sessions", "0024_deletion_in_pieces")]

    operations = [
        AddIndexConcurrently(
            model_name="session",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", False)), fields=["deleted_at"], name="session_deleted"
            ),
        )
    ]
