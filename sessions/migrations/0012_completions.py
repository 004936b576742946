import django.db.models.deletion
import sessions.models.fields
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Sessions go on being used while the index is made.
    atomic = False

    dependencies = [
        ('agent_sessions', '0011_budgets_and_provider_keys'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Completion',
            fields=[
                ('id', models.UUIDField(default=sessions.models.fields.new_id, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('chat', 'Chat'), ('embeddings', 'Embeddings')], default='chat', max_length=16)),
                ('model', models.CharField(help_text='As the caller has named it.', max_length=200)),
                ('agent', models.CharField(blank=True, help_text='The agent that was asked; empty: the model itself.', max_length=64)),
                ('messages', models.JSONField(default=list, help_text='The conversation, or the texts to embed.')),
                ('tools', models.JSONField(default=list, help_text='What the caller can run.')),
                ('options', models.JSONField(default=dict, help_text='Further parameters of the model.')),
                ('result', models.JSONField(blank=True, help_text='The embeddings, each in base64.', null=True)),
                ('finish_reason', models.CharField(blank=True, max_length=32)),
                ('cached_tokens', models.PositiveBigIntegerField(default=0)),
                ('reasoning_tokens', models.PositiveBigIntegerField(default=0)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.AddField(
            model_name='session',
            name='hidden',
            field=models.BooleanField(db_default=False, default=False, help_text='It holds one request of the OpenAI-compatible door: lists leave it out, and it is deleted in time.'),
        ),
        AddIndexConcurrently(
            model_name='session',
            index=models.Index(condition=models.Q(('hidden', True)), fields=['updated_at'], name='session_hidden'),
        ),
        migrations.AddField(
            model_name='completion',
            name='turn',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='completion', to='agent_sessions.turn'),
        ),
        migrations.AddConstraint(
            model_name='completion',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['chat', 'embeddings'])), name='completion_kind_known'),
        ),
    ]
