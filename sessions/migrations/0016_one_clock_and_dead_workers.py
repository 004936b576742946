import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0015_upkeep'),
    ]

    operations = [
        migrations.RemoveConstraint(model_name='worker', name='worker_seen_after_it_started'),
        migrations.AddField(
            model_name='turn',
            name='recover_after',
            field=models.DateTimeField(blank=True, editable=False, help_text='No worker tries to recover it before.', null=True),
        ),
        migrations.AddField(
            model_name='turn',
            name='recovery_failures',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, editable=False, help_text='Consecutive tries to recover it that raised an error.'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='queued_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When it last began to wait for a worker.'),
        ),
        migrations.AddField(
            model_name='worker',
            name='clock_skew',
            field=models.DurationField(blank=True, help_text="How far its clock is ahead of the database's. Nothing depends on its clock.", null=True),
        ),
        migrations.AddField(
            model_name='worker',
            name='lock_key',
            field=models.BigIntegerField(blank=True, help_text='Advisory lock that its heartbeat holds while it lives. Empty: only its leases tell that it died.', null=True),
        ),
        migrations.AddField(
            model_name='worker',
            name='looked_at',
            field=models.DateTimeField(blank=True, help_text='When it last searched for turns that no worker runs.', null=True),
        ),
        migrations.AddField(
            model_name='worker',
            name='unlocked_since',
            field=models.DateTimeField(blank=True, help_text='When another worker first found the lock free.', null=True),
        ),
    ]
