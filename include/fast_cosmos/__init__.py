"""What makes Cosmos' tasks fast: dbt in the task's own process, on a project that was parsed and loaded before.

Nothing in here knows this project: it takes its settings as arguments, and can be copied into another one as it is.

* `releases`: copies of a dbt project, each parsed once;
* `seal`: whether a copy is still as it was made;
* `invocation`: runs dbt on such a copy, without a second parse and without files that stay;
* `scratch`: a folder for the files that dbt writes all the same;
* `operators`: Cosmos' operators that do so;
* `warm_up`: loads what every task would load, in the process that forks them.
"""
