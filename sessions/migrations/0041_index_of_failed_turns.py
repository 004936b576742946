"""An index on failed turns, of which operators look for the newest of each reason."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Turns go on while the index is made.
    atomic = False

    dependencies = [("agent_sessions", "0040_operations")]

    operations = [
        AddIndexConcurrently(
            model_name="turn",
            index=models.Index(
                condition=models.Q(("status", "failed")), fields=["error_code", "id"], name="turn_failed"
            ),
        )
    ]
