"""Messages that are sent into an open turn, whose next step reads them."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0033_workspace_changed'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='steered',
            field=models.BooleanField(
                db_default=False, default=False, help_text='Sent into an open turn, whose next step reads it.'
            ),
        ),
        migrations.AddField(
            model_name='message',
            name='read_number',
            field=models.BigIntegerField(
                blank=True,
                editable=False,
                help_text='Number of the event that began the step that reads a steered message: its place from then on.',
                null=True,
            ),
        ),
        migrations.AddField(
            model_name='turn',
            name='unread',
            field=models.PositiveIntegerField(
                db_default=0, default=0, editable=False, help_text='Steered messages that no step has read yet.'
            ),
        ),
    ]
