"""Who has written an answer, and what a turn used."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0038_prompts'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='author',
            field=models.JSONField(blank=True, help_text='Of an answer: agent, mode and model, and how much of the window was used.', null=True),
        ),
        migrations.AddField(
            model_name='turn',
            name='cached_tokens',
            field=models.PositiveBigIntegerField(blank=True, help_text='Part of the input tokens.', null=True),
        ),
        migrations.AddField(
            model_name='turn',
            name='cost',
            field=models.DecimalField(blank=True, decimal_places=8, help_text='US dollars, of all model calls. Empty: a price is unknown.', max_digits=14, null=True),
        ),
    ]
