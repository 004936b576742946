"""An index on the age of sessions, which retention asks for."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Sessions go on being used while the index is made.
    atomic = False

    dependencies = [("agent_sessions", "0017_index_of_waiting_turns")]

    operations = [
        AddIndexConcurrently(
            model_name="session",
            index=models.Index(condition=models.Q(("hidden", False)), fields=["updated_at"], name="session_by_age"),
        )
    ]
