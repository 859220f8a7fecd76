"""What a run did: dbt's artifacts read into dataclasses, kept in `ops`, and summed up for the report."""
