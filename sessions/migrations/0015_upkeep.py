"""What the clean-up needs: items that are put off, and how far a compaction has come."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agent_sessions", "0014_plain_help_texts")]

    operations = [
        migrations.AddField(
            model_name="turn",
            name="compaction",
            field=models.JSONField(
                editable=False,
                help_text="How far the compaction of a long turn has come. Empty: not begun, or done.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="PostponedItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(help_text="Which clean-up, and of which table.", max_length=64)),
                ("item", models.CharField(help_text="The row's key.", max_length=200)),
                ("failures", models.PositiveIntegerField(db_default=0, default=0)),
                (
                    "error",
                    models.CharField(
                        blank=True, db_default="", help_text="Class of the latest error.", max_length=100
                    ),
                ),
                (
                    "retry_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("kind", "item"), name="postponed_item_once")],
            },
        ),
    ]
