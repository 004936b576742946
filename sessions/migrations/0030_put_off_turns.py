"""Turns that wait until the provider of their model takes requests again."""

import datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0029_providers_of_workers'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='event',
            name='event_kind_known',
        ),
        migrations.AddField(
            model_name='turn',
            name='retry_at',
            field=models.DateTimeField(blank=True, help_text="The model's provider asked to wait: no worker takes the turn before.", null=True),
        ),
        migrations.AddField(
            model_name='turn',
            name='retry_wait',
            field=models.DurationField(db_default=datetime.timedelta(0), default=datetime.timedelta, help_text="How long the model's provider has made the turn wait, in all."),
        ),
        migrations.AlterField(
            model_name='event',
            name='kind',
            field=models.CharField(choices=[('session_changed', 'Session Changed'), ('session_deleted', 'Session Deleted'), ('agent_switched', 'Agent Switched'), ('message_added', 'Message Added'), ('message_edited', 'Message Edited'), ('message_withdrawn', 'Message Withdrawn'), ('turn_queued', 'Turn Queued'), ('queue_changed', 'Queue Changed'), ('turn_started', 'Turn Started'), ('text_delta', 'Text Delta'), ('reasoning_delta', 'Reasoning Delta'), ('tool_call_requested', 'Tool Call Requested'), ('approval_decided', 'Approval Decided'), ('tool_call_finished', 'Tool Call Finished'), ('plan_proposed', 'Plan Proposed'), ('plan_decided', 'Plan Decided'), ('plan_updated', 'Plan Updated'), ('plan_finished', 'Plan Finished'), ('turn_waiting', 'Turn Waiting'), ('retry_scheduled', 'Retry Scheduled'), ('turn_completed', 'Turn Completed'), ('turn_failed', 'Turn Failed'), ('turn_cancelled', 'Turn Cancelled')], max_length=32),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['session_changed', 'session_deleted', 'agent_switched', 'message_added', 'message_edited', 'message_withdrawn', 'turn_queued', 'queue_changed', 'turn_started', 'text_delta', 'reasoning_delta', 'tool_call_requested', 'approval_decided', 'tool_call_finished', 'plan_proposed', 'plan_decided', 'plan_updated', 'plan_finished', 'turn_waiting', 'retry_scheduled', 'turn_completed', 'turn_failed', 'turn_cancelled'])), name='event_kind_known'),
        ),
    ]
