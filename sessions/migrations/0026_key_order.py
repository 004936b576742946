"""The order of keys in tools, options and arguments, which `jsonb` does not keep."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0025_index_of_deleted_sessions'),
    ]

    operations = [
        migrations.AddField(
            model_name='completion',
            name='key_order',
            field=models.TextField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='key_order',
            field=models.TextField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='toolcall',
            name='key_order',
            field=models.TextField(editable=False, null=True),
        ),
    ]
