"""Which tool calls a user has edited before they ran."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0026_key_order'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='edited_calls',
            field=models.JSONField(
                blank=True,
                help_text='Ids of the calls whose arguments a user has edited: what is here is what ran.',
                null=True,
            ),
        ),
        migrations.AddField(
            model_name='toolcall',
            name='edited',
            field=models.BooleanField(
                db_default=False, default=False, help_text='A user has changed the arguments.'
            ),
        ),
    ]
