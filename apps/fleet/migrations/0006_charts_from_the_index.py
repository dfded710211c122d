"""A chart of rolled-up rows reads the index alone, where a device's rows lie side by side; in the table they do not."""

from django.db import migrations

FIGURES = "seconds, util_percent, util_max, memory_bytes, temperature_c, power_w"
TABLES = ("fleet_deviceminute", "fleet_devicehour")


def _key(included):
    return "".join(
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey; "
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY (device_id, at) {included};"
        for table in TABLES
    )


class Migration(migrations.Migration):
    dependencies = [("fleet", "0005_removed_hosts")]

    operations = [migrations.RunSQL(_key(f"INCLUDE ({FIGURES})"), _key(""))]
