"""What the tasks of a day do: how Cosmos draws them, whether one may work now, what it builds, and what is reported."""

# The DAG's, as Airflow knows it.
DAG_ID = "greenery_daily"
