"""The dbt project: releases of it that are parsed once, what the manifest says, and dbt run in this process."""
