"""The workspaces of users, and where sessions and turns stand in them."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import sessions.models.fields


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0030_put_off_turns'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Workspace',
            fields=[
                ('id', models.UUIDField(default=sessions.models.fields.new_id, editable=False, primary_key=True, serialize=False)),
                ('hash', models.CharField(help_text='SHA-256 of the data, in hexadecimal.', max_length=64)),
                ('summary', models.JSONField(help_text='What events and snapshots say of it.')),
                ('data', models.JSONField(help_text='What the client sent.')),
                ('used_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When a client last sent it.')),
                ('owner', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='workspaces', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['used_at'], name='workspace_by_use')],
                'constraints': [models.UniqueConstraint(fields=('owner', 'hash'), name='workspace_once_for_owner')],
            },
        ),
        migrations.AddField(
            model_name='message',
            name='surroundings',
            field=models.TextField(blank=True, db_default='', default='', help_text='Facts about the workspace that models read after the text, as they were when the turn began.'),
        ),
        migrations.AddField(
            model_name='session',
            name='shown_facts',
            field=models.JSONField(blank=True, editable=False, help_text='Digests of the facts about the workspace that its model was told last.', null=True),
        ),
        migrations.AddField(
            model_name='session',
            name='workspace',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='agent_sessions.workspace'),
        ),
        migrations.AddField(
            model_name='turn',
            name='workspace',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='agent_sessions.workspace'),
        ),
    ]
