"""History of each device in three resolutions; samples and minutes in partitions by day (apps/fleet/partitions.py)."""

import django.db.models.deletion
from django.db import migrations, models

FIGURES = "util_percent real, temperature_c real, power_w real"
ROLLED = f"device_id bigint, at timestamptz, memory_bytes bigint, seconds real NOT NULL, {FIGURES}, util_max real"
TABLES = f"""
    CREATE TABLE fleet_devicesample (
        device_id bigint, at timestamptz, memory_bytes bigint, {FIGURES}, PRIMARY KEY (device_id, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE fleet_deviceminute ({ROLLED}, PRIMARY KEY (device_id, at)) PARTITION BY RANGE (at);
    -- Written again every minute of its hour: room for that in the same page.
    CREATE TABLE fleet_devicehour ({ROLLED}, PRIMARY KEY (device_id, at)) WITH (fillfactor = 70);
"""
NO_TABLES = "DROP TABLE fleet_devicesample; DROP TABLE fleet_deviceminute; DROP TABLE fleet_devicehour;"


def _key():
    key = models.CompositePrimaryKey("device_id", "at", blank=True, editable=False, primary_key=True, serialize=False)
    return [("pk", key), ("device_id", models.BigIntegerField()), ("at", models.DateTimeField())]


def _rolled(name):
    return migrations.CreateModel(
        name=name,
        fields=[
            *_key(),
            ("seconds", models.FloatField()),
            ("util_percent", models.FloatField(null=True)),
            ("util_max", models.FloatField(null=True)),
            ("memory_bytes", models.BigIntegerField(null=True)),
            ("temperature_c", models.FloatField(null=True)),
            ("power_w", models.FloatField(null=True)),
        ],
        options={"abstract": False},
    )


class Migration(migrations.Migration):
    dependencies = [("fleet", "0003_alerts_and_boot_time")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLES, NO_TABLES)],
            state_operations=[
                migrations.CreateModel(
                    name="DeviceSample",
                    fields=[
                        *_key(),
                        ("util_percent", models.FloatField(null=True)),
                        ("memory_bytes", models.BigIntegerField(null=True)),
                        ("temperature_c", models.FloatField(null=True)),
                        ("power_w", models.FloatField(null=True)),
                    ],
                ),
                _rolled("DeviceMinute"),
                _rolled("DeviceHour"),
            ],
        ),
        migrations.CreateModel(
            name="HostLoad",
            fields=[
                (
                    "host",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="load",
                        serialize=False,
                        to="fleet.host",
                    ),
                ),
                ("at", models.DateTimeField()),
                ("cpu_percent", models.FloatField()),
                ("ram_used_bytes", models.BigIntegerField()),
                ("gpus", models.JSONField(default=list)),
                ("roll_from", models.DateTimeField()),
            ],
        ),
        migrations.DeleteModel(name="TelemetrySample"),
    ]
