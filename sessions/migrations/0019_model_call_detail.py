"""A provider's own words about a failed call, for staff."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agent_sessions", "0018_index_of_expired_sessions")]

    operations = [
        migrations.AddField(
            model_name="modelcall",
            name="detail",
            field=models.TextField(
                blank=True,
                db_default="",
                help_text="The provider's own words about a failure. Deleted with the session.",
            ),
        )
    ]
