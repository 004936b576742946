"""Tools that a client defines: their definitions, what people see of a call of theirs, and facts of results."""


import django.db.models.deletion
import sessions.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0034_steered_messages'),
    ]

    operations = [
        migrations.AddField(
            model_name='session',
            name='tool_definitions',
            field=models.CharField(blank=True, db_default='', default='', help_text='Hash of the tools that the client defines itself (`ToolDefinitions`). Empty: none.', max_length=64),
        ),
        migrations.AddField(
            model_name='toolcall',
            name='definition',
            field=models.JSONField(blank=True, help_text='What people see of a tool that the client has defined, and the hash of its definition.', null=True),
        ),
        migrations.AddField(
            model_name='toolcall',
            name='facts',
            field=models.JSONField(blank=True, help_text='What people are told of the result: exit code, hashes of a file, its diff.', null=True),
        ),
        migrations.AlterField(
            model_name='message',
            name='images',
            field=models.JSONField(blank=True, help_text='Images that the user attached, or a tool returned.', null=True),
        ),
        migrations.AlterField(
            model_name='toolcall',
            name='result',
            field=models.TextField(blank=True, help_text='The whole result: JSON, a text or an error. The model gets long ones cut in the middle.'),
        ),
        migrations.CreateModel(
            name='ToolDefinitions',
            fields=[
                ('id', models.UUIDField(default=sessions.models.fields.new_id, editable=False, primary_key=True, serialize=False)),
                ('text', models.TextField(help_text='JSON (`agents.client_tools`).')),
                ('changed_at', models.DateTimeField(auto_now=True)),
                ('session', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='agent_sessions.session')),
            ],
            options={
                'verbose_name_plural': 'tool definitions',
            },
        ),
    ]
