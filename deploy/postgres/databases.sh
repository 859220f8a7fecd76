#!/usr/bin/env bash
# Runs once, when Postgres makes its cluster: a login and a database for Airflow, and the warehouse, whose roles
# `python -m include.warehouse.roles` makes.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set password="$AIRFLOW_DB_PASSWORD" <<'SQL'
create role airflow login password :'password';
-- The locks of a component whose machine is gone go within half a minute; as Linux comes, in two hours.
alter role airflow set tcp_keepalives_idle = '10s';
alter role airflow set tcp_keepalives_interval = '5s';
alter role airflow set tcp_keepalives_count = '3';
alter role airflow set tcp_user_timeout = '30s';
create database airflow owner airflow;
revoke connect on database airflow from public;
create database warehouse;
revoke connect, temporary on database warehouse from public;
\connect warehouse
-- By large objects who may read alone could fill the disk.
revoke execute on function lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) from public;
SQL
