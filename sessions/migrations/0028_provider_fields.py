"""Thoughts and signatures that go back to their provider while a model calls tools."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0027_edited_calls'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='provider_fields',
            field=models.TextField(
                blank=True,
                db_default='',
                default='',
                editable=False,
                help_text='Thoughts and signatures that go back to the provider within the turn. Deleted after it.',
            ),
        ),
    ]
