"""Which providers the workers have keys for, so that the list of models names what can be called."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0028_provider_fields'),
    ]

    operations = [
        migrations.AddField(
            model_name='worker',
            name='providers',
            field=models.JSONField(
                blank=True,
                help_text='Names of the model providers that it has keys for. Empty: it did not say.',
                null=True,
            ),
        ),
    ]
