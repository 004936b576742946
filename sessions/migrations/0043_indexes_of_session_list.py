"""Indexes of the search, of messages that it does not know yet, and of pinned sessions."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

from sessions.models.words import MessageWords


class Migration(migrations.Migration):
    # Messages are written meanwhile.
    atomic = False

    dependencies = [
        ('agent_sessions', '0042_session_list'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='message',
            index=GinIndex(MessageWords(), condition=models.Q(('owner_id__isnull', False), ('role__in', ('user', 'assistant')), ('withdrawn', False)), gin_pending_list_limit=256, name='message_words'),
        ),
        AddIndexConcurrently(
            model_name='message',
            index=models.Index(condition=models.Q(('owner_id__isnull', True), ('role__in', ('user', 'assistant'))), fields=['-id'], name='message_without_owner'),
        ),
        AddIndexConcurrently(
            model_name='session',
            index=models.Index(condition=models.Q(('is_pinned', True)), fields=['owner', '-updated_at'], name='session_pinned'),
        ),
    ]
