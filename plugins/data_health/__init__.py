"""The data-health page: what state the data is in, was in, and why, inside the Airflow UI."""
