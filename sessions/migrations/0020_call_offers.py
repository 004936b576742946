from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0019_model_call_detail'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebProcess',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('seen_at', models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name='toolcall',
            name='offered_by',
            field=models.UUIDField(blank=True, help_text="Web process with that client's socket.", null=True),
        ),
        migrations.AddField(
            model_name='toolcall',
            name='shown_at',
            field=models.DateTimeField(blank=True, help_text='When that client was told to run it. No other client is ever told.', null=True),
        ),
        migrations.AddField(
            model_name='toolcall',
            name='unknown_since',
            field=models.DateTimeField(blank=True, help_text='Its client went away, so the user decides whether it runs again.', null=True),
        ),
        migrations.AlterField(
            model_name='toolcall',
            name='offered_until',
            field=models.DateTimeField(blank=True, help_text='The client is away; after this it counts as gone. Empty while connected.', null=True),
        ),
    ]
