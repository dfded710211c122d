from django.db import migrations

# Postgres prices a look at a search vector like one at a number. It is as large as the card and lies elsewhere, so
# that reading all of them takes a hundred times as long as the index: this asks the index always.
HOLDING = """
CREATE FUNCTION catalog_models_holding(query tsquery) RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SET enable_seqscan = off
AS 'SELECT id FROM catalog_model WHERE search @@ query'
"""


class Migration(migrations.Migration):
    dependencies = [("catalog", "0011_remote_code_and_pickles")]

    operations = [migrations.RunSQL(HOLDING, "DROP FUNCTION IF EXISTS catalog_models_holding(tsquery)")]
