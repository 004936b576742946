from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Turns are written all the time, and must not wait for the index.
    atomic = False

    dependencies = [
        ('agent_sessions', '0016_one_clock_and_dead_workers'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='turn',
            index=models.Index(condition=models.Q(('status', 'waiting')), fields=['waiting_since'], name='turn_waiting'),
        ),
    ]
