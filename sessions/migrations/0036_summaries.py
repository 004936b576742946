"""Summaries of what no longer fits a window of a model."""

import django.db.models.deletion
import sessions.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0035_client_tools'),
    ]

    operations = [
        migrations.CreateModel(
            name='Summary',
            fields=[
                ('id', models.UUIDField(default=sessions.models.fields.new_id, editable=False, primary_key=True, serialize=False)),
                ('text', models.TextField()),
                ('messages', models.PositiveIntegerField(help_text='How many messages it stands for.')),
                ('until', models.UUIDField(help_text='The last message that it stands for.')),
                ('until_place', models.JSONField(help_text="Position of that message's turn, its order there, and its number.")),
                ('kept', models.JSONField(default=list, help_text='Ids of messages up to there that it does not stand for.')),
                ('number', models.BigIntegerField(help_text='Number of the event that announced it.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('session', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='summaries', to='agent_sessions.session')),
                ('subtask', models.ForeignKey(blank=True, help_text='Sub-task of a plan whose conversation it is of.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='summaries', to='agent_sessions.subtask', verbose_name='sub-task')),
                ('turn', models.ForeignKey(help_text='Made it.', on_delete=django.db.models.deletion.CASCADE, related_name='summaries', to='agent_sessions.turn')),
            ],
            options={
                'verbose_name_plural': 'summaries',
                'indexes': [models.Index(fields=['session', 'id'], name='summary_by_session')],
            },
        ),
        migrations.RemoveConstraint(
            model_name='event',
            name='event_kind_known',
        ),
        migrations.RemoveConstraint(
            model_name='modelcall',
            name='model_call_purpose_known',
        ),
        migrations.AddField(
            model_name='session',
            name='is_summarized',
            field=models.BooleanField(db_default=False, default=False, help_text='Summaries stand for old messages.'),
        ),
        migrations.AlterField(
            model_name='event',
            name='kind',
            field=models.CharField(choices=[('session_changed', 'Session Changed'), ('session_deleted', 'Session Deleted'), ('workspace_changed', 'Workspace Changed'), ('agent_switched', 'Agent Switched'), ('message_added', 'Message Added'), ('message_edited', 'Message Edited'), ('message_withdrawn', 'Message Withdrawn'), ('turn_queued', 'Turn Queued'), ('queue_changed', 'Queue Changed'), ('turn_started', 'Turn Started'), ('text_delta', 'Text Delta'), ('reasoning_delta', 'Reasoning Delta'), ('tool_call_requested', 'Tool Call Requested'), ('approval_decided', 'Approval Decided'), ('tool_call_finished', 'Tool Call Finished'), ('plan_proposed', 'Plan Proposed'), ('plan_decided', 'Plan Decided'), ('plan_updated', 'Plan Updated'), ('plan_finished', 'Plan Finished'), ('turn_waiting', 'Turn Waiting'), ('retry_scheduled', 'Retry Scheduled'), ('summary_added', 'Summary Added'), ('turn_completed', 'Turn Completed'), ('turn_failed', 'Turn Failed'), ('turn_cancelled', 'Turn Cancelled')], max_length=32),
        ),
        migrations.AlterField(
            model_name='modelcall',
            name='purpose',
            field=models.CharField(choices=[('step', 'Step'), ('routing', 'Routing'), ('summary', 'Summary')], default='step', max_length=16),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['session_changed', 'session_deleted', 'workspace_changed', 'agent_switched', 'message_added', 'message_edited', 'message_withdrawn', 'turn_queued', 'queue_changed', 'turn_started', 'text_delta', 'reasoning_delta', 'tool_call_requested', 'approval_decided', 'tool_call_finished', 'plan_proposed', 'plan_decided', 'plan_updated', 'plan_finished', 'turn_waiting', 'retry_scheduled', 'summary_added', 'turn_completed', 'turn_failed', 'turn_cancelled'])), name='event_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='modelcall',
            constraint=models.CheckConstraint(condition=models.Q(('purpose__in', ['step', 'routing', 'summary'])), name='model_call_purpose_known'),
        ),
    ]
