#!/usr/bin/env bash
# Runs once, when Postgres makes its cluster: a login and a database for Airflow, and the warehouse, whose roles
# `python -m include.warehouse.roles` makes.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set password="$AIRFLOW_DB_PASSWORD" <<'SQL'
create role airflow login password :'password';
create database airflow owner airflow;
revoke connect on database airflow from public;
create database warehouse;
revoke connect, temporary on database warehouse from public;
\connect warehouse
-- By large objects who may read alone could fill the disk.
revoke execute on function lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) from public;
SQL
