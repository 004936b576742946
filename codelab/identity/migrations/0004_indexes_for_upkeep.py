"""Indexes on the age of refresh tokens and audit entries, which the clean-up asks for."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Sign-ins go on while the indexes are made.
    atomic = False

    dependencies = [("identity", "0003_session_opening_and_help_texts")]

    operations = [
        AddIndexConcurrently(
            model_name="refreshtoken", index=models.Index(fields=["expires_at"], name="refresh_token_by_age")
        ),
        AddIndexConcurrently(
            model_name="auditentry", index=models.Index(fields=["created_at"], name="audit_entry_by_age")
        ),
    ]
