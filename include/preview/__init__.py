"""What a change of the dbt project would do to the data, the tests and the message: built aside, compared, reported.

`make preview` calls it; a pull request shows what it says. Nothing in here writes to a schema of production.
"""
