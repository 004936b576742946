"""Indexes of repeated requests, and of the calls of clients' sessions."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

from sessions.models.fields import UniqueIndex


class Migration(migrations.Migration):
    # Completions and calls are written meanwhile.
    atomic = False

    dependencies = [
        ('agent_sessions', '0046_answer_fields'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='completion',
            index=UniqueIndex(condition=models.Q(('idempotency_key__isnull', False)), fields=['idempotency_key'], name='completion_key_once'),
        ),
        AddIndexConcurrently(
            model_name='completion',
            index=models.Index(condition=models.Q(('fingerprint__isnull', False)), fields=['fingerprint', '-created_at'], name='completion_by_fingerprint'),
        ),
        AddIndexConcurrently(
            model_name='modelcall',
            index=models.Index(condition=models.Q(('client_session', ''), _negated=True), fields=['owner', 'client_session', 'id'], name='model_call_by_client'),
        ),
    ]
