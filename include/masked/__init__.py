"""A masked copy: production's raw rows and history in a folder, with made-up values where personal ones were.

A preview on a pull request runs on it. Marts are not in it: the preview builds what it needs from these rows.
"""
