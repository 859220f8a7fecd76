"""The dbt project as Airflow sees it: releases of it that are parsed once, and what Cosmos makes of them."""
