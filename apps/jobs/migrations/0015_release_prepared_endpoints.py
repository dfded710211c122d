import json
import socket

from django.conf import settings
from django.db import migrations
from django.db.models import F


def release(apps, schema_editor):
    """Endpoints that wait where an older scheduler prepared them, on a server that is no host itself.

    Where it is one, or a host was enrolled without a join token as `stackweb up` does, the pin is the gateway's wish.
    """
    Host, JoinToken = apps.get_model('fleet', 'Host'), apps.get_model('fleet', 'JoinToken')
    joined = set(JoinToken.objects.exclude(used_by=None).values_list('used_by', flat=True))
    local = own_names()
    if any(name in local or pk not in joined for pk, name in Host.objects.values_list('pk', 'name')):
        return
    waiting = apps.get_model('jobs', 'Job').objects.filter(kind='serve', status__in=['queued', 'held'])
    waiting.exclude(pinned_host=None).update(prepared_on=F('pinned_host'), pinned_host=None)


def own_names():
    """Of this machine as a host: as its hostname says, and as it was enrolled."""
    names = {socket.gethostname().partition('.')[0].lower().replace('_', '-')}
    try:
        names.add(json.loads((settings.HOME / 'host' / 'worker.json').read_text())['host_name'])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return names


class Migration(migrations.Migration):

    dependencies = [
        ('fleet', '0001_initial'),
        ('jobs', '0014_job_replan'),
    ]

    operations = [
        migrations.RunPython(release, migrations.RunPython.noop),
    ]
