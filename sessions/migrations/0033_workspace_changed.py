"""The kind of the event that a session has another workspace."""

from django.db import migrations, models

KINDS = (
    *('session_changed', 'session_deleted', 'workspace_changed', 'agent_switched', 'message_added', 'message_edited'),
    *('message_withdrawn', 'turn_queued', 'queue_changed', 'turn_started', 'text_delta', 'reasoning_delta'),
    *('tool_call_requested', 'approval_decided', 'tool_call_finished', 'plan_proposed', 'plan_decided', 'plan_updated'),
    *('plan_finished', 'turn_waiting', 'retry_scheduled', 'turn_completed', 'turn_failed', 'turn_cancelled'),
)


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0032_index_of_session_workspaces'),
    ]

    operations = [
        migrations.RemoveConstraint(model_name='event', name='event_kind_known'),
        migrations.AlterField(
            model_name='event',
            name='kind',
            field=models.CharField(choices=[(kind, kind.replace('_', ' ').title()) for kind in KINDS], max_length=32),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', list(KINDS))), name='event_kind_known'),
        ),
    ]
