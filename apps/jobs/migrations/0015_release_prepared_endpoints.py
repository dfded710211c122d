from django.db import migrations
from django.db.models import F

from apps.fleet.local_host import is_local


def release(apps, schema_editor):
    """Endpoints that wait where an older scheduler prepared them, on a server that is no host itself.

    Where it is one, or a host was enrolled without a join token as `stackweb up` does, the pin is the gateway's wish.
    """
    Host, JoinToken = apps.get_model('fleet', 'Host'), apps.get_model('fleet', 'JoinToken')
    joined = set(JoinToken.objects.exclude(used_by=None).values_list('used_by', flat=True))
    if any(is_local(host) or host.pk not in joined for host in Host.objects.all()):
        return
    waiting = apps.get_model('jobs', 'Job').objects.filter(kind='serve', status__in=['queued', 'held'])
    waiting.exclude(pinned_host=None).update(prepared_on=F('pinned_host'), pinned_host=None)


class Migration(migrations.Migration):

    dependencies = [
        ('fleet', '0001_initial'),
        ('jobs', '0014_job_replan'),
    ]

    operations = [
        migrations.RunPython(release, migrations.RunPython.noop),
    ]
