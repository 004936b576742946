from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Clients run tools meanwhile.
    atomic = False

    dependencies = [
        ('agent_sessions', '0020_call_offers'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='toolcall',
            index=models.Index(condition=models.Q(('offered_by__isnull', False), ('offered_until__isnull', True), ('status__in', ('asked', 'waiting'))), fields=['offered_by'], name='tool_call_held'),
        ),
        AddIndexConcurrently(
            model_name='toolcall',
            index=models.Index(condition=models.Q(('shown_at__isnull', False), ('status', 'waiting')), fields=['offered_until'], name='tool_call_away'),
        ),
    ]
