# The image of every component: Airflow with what requirements-deployment.txt pins, and this project, already parsed.
ARG BASE_IMAGE=apache/airflow:3.3.2-python3.12
FROM ${BASE_IMAGE}

# Dependencies first: code changes more often than they do.
COPY requirements.txt requirements-deployment.txt constraints.txt overrides.txt /tmp/requirements/
# With the uv that Airflow's image has; a package without a hash in constraints.txt, or with another one, ends the build.
# pip has no overrides; it gets past dbt's parser with `pip install --no-deps --requirement constraints.txt`, which brings
# the tests' packages as well.
RUN uv pip install --no-cache --quiet --compile-bytecode --require-hashes --constraint /tmp/requirements/constraints.txt \
        --override /tmp/requirements/overrides.txt --requirement /tmp/requirements/requirements-deployment.txt

# pg_dump, pg_restore and psql make the backups, in the major version of the server, or of each: from Debian where it has
# that, else from PostgreSQL's repository, whose key Debian has.
ARG POSTGRES_MAJOR=18
USER root
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update --quiet=2 \
    && for major in ${POSTGRES_MAJOR}; do \
        if ! apt-cache show postgresql-client-${major} >/dev/null 2>&1; then \
            apt-get install --quiet=2 --yes --no-install-recommends postgresql-common \
            && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y || exit; fi; \
        apt-get install --quiet=2 --yes --no-install-recommends postgresql-client-${major} || exit; done \
    && rm -rf /var/lib/apt/lists/*
USER airflow

COPY --chown=airflow:0 airflow.cfg /opt/airflow/
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 include /opt/airflow/include
COPY --chown=airflow:0 dbt /opt/airflow/dbt

# How Airflow and dbt find the warehouse. A release of the dbt project holds for these values: where others are set when
# a container starts, its init makes a new one.
ARG WAREHOUSE_HOST=postgres
ARG WAREHOUSE_PORT=5432
ARG WAREHOUSE_DB=warehouse
ARG WAREHOUSE_USER=greenery_transformer
ARG WAREHOUSE_SSLMODE=
ARG WAREHOUSE_SSLROOTCERT=
ARG WAREHOUSE_SSLCERT=
ARG WAREHOUSE_SSLKEY=
ARG GREENERY_RAW_SCHEMA=raw
ENV PYTHONPATH=/opt/airflow \
    GREENERY_STATE_DIR=/opt/airflow/state \
    DBT_SEND_ANONYMOUS_USAGE_STATS=False \
    WAREHOUSE_HOST=${WAREHOUSE_HOST} \
    WAREHOUSE_PORT=${WAREHOUSE_PORT} \
    WAREHOUSE_DB=${WAREHOUSE_DB} \
    WAREHOUSE_USER=${WAREHOUSE_USER} \
    WAREHOUSE_SSLMODE=${WAREHOUSE_SSLMODE} \
    WAREHOUSE_SSLROOTCERT=${WAREHOUSE_SSLROOTCERT} \
    WAREHOUSE_SSLCERT=${WAREHOUSE_SSLCERT} \
    WAREHOUSE_SSLKEY=${WAREHOUSE_SSLKEY} \
    GREENERY_RAW_SCHEMA=${GREENERY_RAW_SCHEMA}

# A project that does not parse does not build. The folders of state, of large loads and of backups can be written by any
# user of group 0; as volumes they begin as they are here.
RUN python -m compileall -q /opt/airflow/include /opt/airflow/plugins /opt/airflow/dags \
    && mkdir -m 2775 /opt/airflow/state /opt/airflow/scratch /opt/airflow/state/watchdog /opt/airflow/state/demo \
        /opt/airflow/backups \
    && if ls dbt/packages.yml dbt/dependencies.yml 2>/dev/null | grep -q .; then dbt deps --project-dir dbt --profiles-dir dbt; fi \
    && python -m include.dbt_project.release \
    && chmod -R g+rwX /opt/airflow/state

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Greenery daily" \
      org.opencontainers.image.description="Airflow, Cosmos and dbt: Greenery's daily data run" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/apache/airflow:3.3.2-python3.12"

USER airflow
# Of the API server, which is what the image runs by itself; docker-compose.yaml has those of the others.
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --retries=4 \
    CMD curl --fail --silent http://localhost:8080/api/v2/monitor/health | grep -q '"metadatabase":{"status":"healthy"'
CMD ["api-server"]
