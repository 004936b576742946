"""Turns that a user replaces, by editing the newest message or trying it again."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0036_summaries'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='event',
            name='event_kind_known',
        ),
        migrations.AddField(
            model_name='turn',
            name='replaced_by',
            field=models.UUIDField(blank=True, editable=False, help_text='Turn that took its place: its messages no longer count.', null=True),
        ),
        migrations.AlterField(
            model_name='event',
            name='kind',
            field=models.CharField(choices=[('session_changed', 'Session Changed'), ('session_deleted', 'Session Deleted'), ('workspace_changed', 'Workspace Changed'), ('agent_switched', 'Agent Switched'), ('message_added', 'Message Added'), ('message_edited', 'Message Edited'), ('message_withdrawn', 'Message Withdrawn'), ('turn_queued', 'Turn Queued'), ('queue_changed', 'Queue Changed'), ('turn_started', 'Turn Started'), ('text_delta', 'Text Delta'), ('reasoning_delta', 'Reasoning Delta'), ('tool_call_requested', 'Tool Call Requested'), ('approval_decided', 'Approval Decided'), ('tool_call_finished', 'Tool Call Finished'), ('plan_proposed', 'Plan Proposed'), ('plan_decided', 'Plan Decided'), ('plan_updated', 'Plan Updated'), ('plan_finished', 'Plan Finished'), ('turn_waiting', 'Turn Waiting'), ('retry_scheduled', 'Retry Scheduled'), ('summary_added', 'Summary Added'), ('turn_completed', 'Turn Completed'), ('turn_failed', 'Turn Failed'), ('turn_cancelled', 'Turn Cancelled'), ('turn_replaced', 'Turn Replaced')], max_length=32),
        ),
        migrations.AlterField(
            model_name='message',
            name='withdrawn',
            field=models.BooleanField(db_default=False, default=False, help_text='The sender withdrew it, or replaced its turn. Models and clients do not see it.'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['session_changed', 'session_deleted', 'workspace_changed', 'agent_switched', 'message_added', 'message_edited', 'message_withdrawn', 'turn_queued', 'queue_changed', 'turn_started', 'text_delta', 'reasoning_delta', 'tool_call_requested', 'approval_decided', 'tool_call_finished', 'plan_proposed', 'plan_decided', 'plan_updated', 'plan_finished', 'turn_waiting', 'retry_scheduled', 'summary_added', 'turn_completed', 'turn_failed', 'turn_cancelled', 'turn_replaced'])), name='event_kind_known'),
        ),
    ]
