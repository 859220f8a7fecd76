"""Publishing: what people query changes all at once, only after every test has passed, and can be taken back.

`gate` says whether a run may publish, `exchange` is the one transaction that does it, `publish` the task of the daily
DAG, `by_hand` what people may decide themselves (`python -m include.publish`).
"""
