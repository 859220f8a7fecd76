"""Settings: the one place that reads the environment. `.env.example` lists and explains them all."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

log = logging.getLogger(__name__)

PROJECT_ROOT = Path(__file__).resolve().parents[1]
# Where Airflow's API server has the data-health page.
HEALTH_PATH = "/data-health"
# As whom it reads the warehouse.
HEALTH_USER = "greenery_health"
# As whom previews and developers build in schemas of their own, unless a login that stands for it is named.
DEVELOPER_USER = "greenery_developer"
# Fewer characters could be guessed.
TOKEN_CHARACTERS = 32
# What people query, and where dbt builds what the next publish puts in its place.
LIVE, BUILT = "analytics", "analytics_next"
# The warehouse's schemas besides the one of the raw tables.
OUR_SCHEMAS = ("staging", "snapshots", LIVE, BUILT, "ops")


@dataclass(frozen=True)
class Tls:
    """How connections are encrypted, and by which files each side knows the other; libpq decides where it is empty."""

    sslmode: str = ""
    sslrootcert: str = ""
    sslcert: str = ""
    sslkey: str = ""


@dataclass(frozen=True)
class Warehouse:
    """Where the warehouse database is, as whom to connect, and how that is encrypted.

    `is_limited` says that sessions take no longer than an administrator lets them: of who only reads, or tries out.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    tls: Tls = Tls()
    is_limited: bool = False

    def environment(self) -> dict[str, str]:
        """The same settings as environment variables, for a child process or for `dbt/profiles.yml`."""
        return {
            "WAREHOUSE_HOST": self.host,
            "WAREHOUSE_PORT": str(self.port),
            "WAREHOUSE_DB": self.database,
            "WAREHOUSE_USER": self.user,
            "WAREHOUSE_PASSWORD": self.password,
            **{f"WAREHOUSE_{name.upper()}": value for name, value in asdict(self.tls).items()},
        }

    def libpq(self) -> dict[str, str]:
        """The same as libpq's keywords, for `psycopg2.connect`."""
        where = {"host": self.host, "port": str(self.port), "dbname": self.database, "user": self.user}
        given = {"password": self.password, **asdict(self.tls)}
        return where | {name: value for name, value in given.items() if value}

    def libpq_environment(self) -> dict[str, str]:
        """The same as libpq's own variables, for psql and pg_dump: a password is in no list of processes."""
        variable = {"dbname": "PGDATABASE"}
        return {variable.get(name, f"PG{name.upper()}"): value for name, value in self.libpq().items()}


def warehouse() -> Warehouse:
    """The warehouse that the environment names, as the one who builds and publishes."""
    return Warehouse(
        host=os.environ.get("WAREHOUSE_HOST", "127.0.0.1"),
        port=_number("WAREHOUSE_PORT", 5432),
        database=os.environ.get("WAREHOUSE_DB", "warehouse"),
        user=os.environ.get("WAREHOUSE_USER", "postgres"),
        password=os.environ.get("WAREHOUSE_PASSWORD", ""),
        tls=Tls(
            sslmode=os.environ.get("WAREHOUSE_SSLMODE", ""),
            sslrootcert=os.environ.get("WAREHOUSE_SSLROOTCERT", ""),
            sslcert=os.environ.get("WAREHOUSE_SSLCERT", ""),
            sslkey=os.environ.get("WAREHOUSE_SSLKEY", ""),
        ),
    )


def raw_schema() -> str:
    """The schema of the raw tables. Raises ValueError for a name that has to be quoted, or is one of ours."""
    name = os.environ.get("GREENERY_RAW_SCHEMA", "raw")
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,50}", name) or name in OUR_SCHEMAS:
        raise ValueError(
            f"GREENERY_RAW_SCHEMA is {name!r}; it takes small letters, digits and underscores, and none of "
            f"{', '.join(OUR_SCHEMAS)}"
        )
    return name


def warehouse_admin() -> Warehouse:
    """The same as an administrator, who migrates it and makes the roles; the builder where no other is named."""
    return _warehouse_as("WAREHOUSE_ADMIN_USER", "WAREHOUSE_ADMIN_PASSWORD")


def warehouse_health() -> Warehouse:
    """The same as the one who only reads: the data-health page."""
    return replace(warehouse(), user=HEALTH_USER, password=role_password("health") or "", is_limited=True)


def warehouse_developer() -> Warehouse:
    """The same as who builds in schemas of their own: a preview, a developer. Raises ValueError where none is named."""
    user = os.environ.get("WAREHOUSE_DEVELOPER_USER", "").strip()
    password = role_password("developer") or ""
    if not (user or password):
        raise ValueError(
            "WAREHOUSE_DEVELOPER_PASSWORD is not set: it lets greenery_developer in, which reads what is published and "
            "writes in schemas of its own alone. Set it (the administrator has it), or WAREHOUSE_DEVELOPER_USER to a "
            "login that stands for that role"
        )
    return replace(warehouse(), user=user or DEVELOPER_USER, password=password, is_limited=True)


def warehouse_loader() -> Warehouse:
    """The same as who writes the raw tables; the builder where no other is named."""
    return _warehouse_as("WAREHOUSE_LOADER_USER", "WAREHOUSE_LOADER_PASSWORD")


def _warehouse_as(user: str, password: str) -> Warehouse:
    """The same as who two variables name; the builder where the first is not set."""
    if user not in os.environ:
        return warehouse()
    return replace(warehouse(), user=os.environ[user], password=os.environ.get(password, ""))


def _number(name: str, default: int) -> int:
    """A whole number from 1. Raises ValueError for anything else."""
    text = os.environ.get(name, "").strip() or str(default)
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError(f"{name} is {text!r}; it takes a whole number from 1")
    return int(text)


def _number_or_default(name: str, default: int) -> int:
    """The same where nothing may keep a run's message back: what is no number is logged, and the default counts."""
    try:
        return _number(name, default)
    except ValueError as error:
        log.error("%s; %d counts until it is mended", error, default)
        return default


def _days(name: str, default: int) -> timedelta:
    """A number of days; a century at most, which a date can be older than."""
    return timedelta(days=min(_number_or_default(name, default), 36_500))


def shop_database_url() -> str | None:
    """The shop's live database; None where raw is loaded otherwise. postgresql://user:password@host/database, and
    libpq's keywords after a ?, as sslmode=verify-full&sslrootcert=…
    """
    return os.environ.get("SHOP_DATABASE_URL", "").strip() or None


def is_an_address(url: str) -> bool:
    """Whether libpq takes no piece of a password for something else, which it would then tell in its errors."""
    try:
        parts = parse_dsn(url)
    except ProgrammingError:  # which quotes what it does not understand
        return False
    return not (
        "@" in parts.get("host", "") + parts.get("dbname", "")
        or re.fullmatch(r"[0-9]*(,[0-9]*)*", parts.get("port", "")) is None
    )


def shop_database_schema() -> str:
    """The schema of the shop's tables in its live database, where the mapping names no other."""
    return os.environ.get("SHOP_DATABASE_SCHEMA", "public")


def role_password(role: str) -> str | None:
    """With which password a role of the warehouse (loader, transformer, reader, …) logs in, if it does."""
    return os.environ.get(f"WAREHOUSE_{role.upper()}_PASSWORD") or None


def schedule() -> str | None:
    """When `greenery_daily` runs: a cron expression in UTC; None where it is set but empty (by hand only)."""
    return os.environ.get("GREENERY_SCHEDULE", "0 6 * * *").strip() or None


def published_by() -> timedelta:
    """How long after the tick of its schedule a run should have published. Raises ValueError for what is no number."""
    return timedelta(minutes=_number("GREENERY_PUBLISHED_BY_MINUTES", 60))


def slack_channel() -> str | None:
    """The id of the channel in which the bot tells stakeholders; None where it has none."""
    return os.environ.get("GREENERY_SLACK_CHANNEL", "").strip() or None


def slack_engineers_channel() -> str | None:
    """The id of the channel in which the bot tells engineers, if that is another one."""
    return os.environ.get("GREENERY_SLACK_ENGINEERS_CHANNEL", "").strip() or None


def slack_timeout() -> int:
    """How many seconds Slack has to answer one request."""
    return _number_or_default("GREENERY_SLACK_TIMEOUT_SECONDS", 10)


def state_dir() -> Path:
    """Where what is built at run time is kept: the parsed dbt project and, on a laptop, the whole local stack."""
    return Path(os.environ.get("GREENERY_STATE_DIR", PROJECT_ROOT / ".local")).resolve()


def dbt_source_dir() -> Path:
    """The dbt project as people edit it."""
    return Path(os.environ.get("GREENERY_DBT_DIR", PROJECT_ROOT / "dbt")).resolve()


def results_kept_for() -> timedelta:
    """How long `ops.node_results` keeps what became of each node."""
    return _days("GREENERY_KEEP_RESULTS_DAYS", 400)


def samples_kept_for() -> timedelta:
    """How long `ops.node_results` keeps the failing rows that tests found."""
    return _days("GREENERY_KEEP_SAMPLES_DAYS", 90)


def messages_kept_for() -> timedelta:
    """How long `ops.messages` keeps what was said."""
    return _days("GREENERY_KEEP_MESSAGES_DAYS", 400)


def observations_kept_for() -> timedelta:
    """How long `ops.observations` keeps what was observed of a day; what is expected is learned from it."""
    return _days("GREENERY_KEEP_OBSERVATIONS_DAYS", 800)


def backup_folder() -> Path | None:
    """Where backups are saved if nobody says otherwise; None where they are not made here."""
    text = os.environ.get("GREENERY_BACKUP_DIR", "").strip()
    return Path(text).resolve() if text else None


def backup_schedule() -> str | None:
    """When a backup is due: a cron expression in UTC; None where nobody asks for one."""
    return os.environ.get("GREENERY_BACKUP_SCHEDULE", "").strip() or None


def backups_kept() -> int:
    """How many backups are kept."""
    return _number("GREENERY_BACKUP_KEEP", 14)


def airflow_database() -> Warehouse | None:
    """Airflow's own database, where the environment names it and it is a Postgres. Raises ValueError for no address."""
    text = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "").strip()
    if not text.startswith("postgres"):
        return None
    address = re.sub(r"^\w+(\+\w+)?:", "postgresql:", text)
    told = parse_dsn(address) if is_an_address(address) else {}
    if "dbname" not in told:
        raise ValueError("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN is no address of a Postgres that libpq takes")
    return Warehouse(
        told.get("host", "127.0.0.1"),
        int(told.get("port", 5432)),
        told["dbname"],
        told.get("user", ""),
        told.get("password", ""),
        Tls(**{name: told[name] for name in asdict(Tls()) if name in told}),
    )


def demo_first_day() -> date | None:
    """The date on which a new demo shop begins; None where the clock decides. Raises ValueError for what is no date."""
    text = os.environ.get("GREENERY_DEMO_FIRST_DAY", "").strip()
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"GREENERY_DEMO_FIRST_DAY is {text!r}; it takes a date such as 2026-11-01") from None


def ui_port() -> int:
    """The port that the local stack's Airflow UI would like to have. Raises ValueError for what is no port."""
    text = os.environ.get("GREENERY_UI_PORT", "8080")
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise ValueError(f"GREENERY_UI_PORT is {text!r}; it takes a number from 1 to 65535")
    return int(text)


def airflow_url() -> str:
    """The address at which people reach the Airflow UI: links in messages begin with it."""
    return os.environ.get("AIRFLOW__API__BASE_URL", "http://localhost:8080").rstrip("/")


def run_url(dag_id: str, run_id: str) -> str:
    """The page of a run in the Airflow UI."""
    return f"{airflow_url()}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def health_path(*parts: str) -> str:
    """The path of the data-health page, or of a page below it: `health_path("models", "dim_users")`."""
    return urlsplit(airflow_url()).path + "/".join((HEALTH_PATH, *(quote(part, safe="") for part in parts)))


def health_url(*parts: str, anchor: str = "") -> str:
    """The whole address of the same, for links from elsewhere."""
    url = urlsplit(airflow_url())
    path = health_path(*parts) if parts else f"{health_path()}/"  # without the slash Airflow knows no such page
    return f"{url.scheme}://{url.netloc}{path}{'#' + quote(anchor, safe='') if anchor else ''}"


def health_token() -> str | None:
    """With what a monitor may ask for the state of the data; None where there is none, or one that could be guessed."""
    token = os.environ.get("GREENERY_HEALTH_TOKEN", "")
    if 0 < len(token) < TOKEN_CHARACTERS:
        log.error(
            "GREENERY_HEALTH_TOKEN has %d characters and opens nothing: it takes %d or more. Delete it from .env; then "
            "`make secrets` makes one",
            len(token),
            TOKEN_CHARACTERS,
        )
        return None
    return token or None


def mcp_token() -> str | None:
    """With what a machine may ask all that the page shows over HTTP; None where there is none that can't be guessed."""
    token = os.environ.get("GREENERY_MCP_TOKEN", "")
    return token if len(token) >= TOKEN_CHARACTERS else None
