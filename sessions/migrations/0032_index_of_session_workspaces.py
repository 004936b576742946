"""An index on the sessions that have a workspace, for the clean-up of workspaces."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Sessions go on being used while the index is made.
    atomic = False

    dependencies = [("agent_sessions", "0031_workspaces")]

    operations = [
        AddIndexConcurrently(
            model_name="session",
            index=models.Index(
                condition=models.Q(("workspace__isnull", False)), fields=["workspace"], name="session_with_workspace"
            ),
        )
    ]
