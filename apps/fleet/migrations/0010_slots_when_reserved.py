"""What a reservation held of its GPU stays so when the GPU is divided anew; until now as it is divided today."""

from django.db import migrations, models

FILL = """
UPDATE fleet_reservation SET gpu_slots = fleet_device.slots
FROM fleet_device WHERE fleet_device.id = fleet_reservation.device_id AND fleet_device.slots > 1
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0009_restored_alert")]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="gpu_slots",
            field=models.PositiveSmallIntegerField(default=1),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
