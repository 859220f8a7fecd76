"""The Slack message: a run's report as data, rendered by pure functions, sent by a thin module."""
