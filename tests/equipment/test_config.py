"""Settings: read once, all problems at once, by variable name, no secret told."""

from __future__ import annotations

import multiprocessing
import stat
from datetime import date
from pathlib import Path

import pytest
from pydantic import SecretStr

from worker import config

GOOD = {"OUTBOOK_OUTREACH__ACCESS_TOKEN": "token-1", "OUTBOOK_WORKBOOKS__API_KEY": "key-1"}
INSECURE = "OUTBOOK_ALLOW_INSECURE_HOSTS=1"
CANARY = "canary-5up3r-s3cret"


def problems(environ: dict[str, str], cwd: Path) -> list[str]:
    """Return what is wrong with the settings, which must be something."""
    with pytest.raises(config.SettingsInvalid) as caught:
        config.load(environ, cwd)
    return caught.value.problems


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    """With credentials alone, every other setting has the documented default."""
    settings = config.load(GOOD, tmp_path)
    assert settings.outreach.base_url == "https://api.outreach.io"
    assert settings.workbooks.base_url == "https://secure.workbooks.com"
    assert settings.outreach.hourly_calls == 10_000
    assert settings.outreach.yearly_calls is None
    assert settings.workbooks.api_key_expires is None
    assert settings.data_dir == tmp_path / ".data"
    assert settings.database_url.get_secret_value() == f"sqlite:///{tmp_path}/.data/outbook.db"
    assert (settings.poll_seconds, settings.writes, settings.only) == (60, "all", None)
    assert (settings.console.host, settings.console.port) == ("127.0.0.1", 8080)
    assert not settings.broker_url
    assert not settings.secret_key
    assert not settings.allow_insecure_hosts
    assert not settings.on_postgres


def test_every_documented_variable_is_known() -> None:
    """The names of the contract, and no others, are settings."""
    outreach = "BASE_URL CLIENT_ID CLIENT_SECRET REDIRECT_URI REFRESH_TOKEN ACCESS_TOKEN WEBHOOK_SECRET HOURLY_CALLS"
    expected = {f"OUTBOOK_OUTREACH__{name}" for name in [*outreach.split(), "YEARLY_CALLS"]}
    expected |= {f"OUTBOOK_WORKBOOKS__{name}" for name in ["BASE_URL", "API_KEY", "API_KEY_EXPIRES", "SETUP_API_KEY"]}
    expected |= {f"OUTBOOK_CONSOLE__{name}" for name in ["HOST", "PORT", "PASSWORD_HASH"]}
    alone = (
        "ONLY WRITES DATABASE_URL BROKER_URL DATA_DIR MAPPING SECRET_KEY POLL_SECONDS ALLOW_INSECURE_HOSTS ALERT_URL"
    )
    expected |= {f"OUTBOOK_{name}" for name in [*alone.split(), "ALERT_COMMAND"]}
    assert set(config.VARIABLES) == expected


def test_values_are_read(tmp_path: Path) -> None:
    """Each kind of value arrives in its type."""
    (tmp_path / "pilot.txt").write_text("ada@example.com\n")
    settings = config.load(
        GOOD
        | {
            "OUTBOOK_OUTREACH__BASE_URL": "https://outreach.example/",
            "OUTBOOK_OUTREACH__WEBHOOK_SECRET": "old-one, new-one,",
            "OUTBOOK_WORKBOOKS__API_KEY_EXPIRES": "2027-03-31",
            "OUTBOOK_ONLY": "pilot.txt",
            "OUTBOOK_WRITES": "none",
            "OUTBOOK_POLL_SECONDS": "5",
            "OUTBOOK_DATA_DIR": "state",
            "OUTBOOK_DATABASE_URL": "sqlite:///state/own.db",
        },
        tmp_path,
    )
    assert settings.outreach.base_url == "https://outreach.example"
    assert [one.get_secret_value() for one in settings.outreach.webhook_secrets] == ["old-one", "new-one"]
    assert settings.workbooks.api_key_expires == date(2027, 3, 31)
    assert settings.only == tmp_path / "pilot.txt"
    assert (settings.writes, settings.poll_seconds) == ("none", 5)
    assert settings.data_dir == tmp_path / "state"
    assert settings.database_url.get_secret_value() == f"sqlite:///{tmp_path}/state/own.db"


def test_all_problems_come_at_once_by_variable(tmp_path: Path) -> None:
    """Nobody mends one setting only to be told of the next, and the words fit the cause."""
    assert problems(
        {
            "OUTBOOK_OUTREACH__BASE_URL": "http://api.example",
            "OUTBOOK_OUTREACH__CLIENT_ID": "app",
            "OUTBOOK_OUTREACH__HOURLY_CALLS": "0",
            "OUTBOOK_WORKBOOKS__BASE_URL": "https://crm.example/path",
            "OUTBOOK_WORKBOOKS__API_KEY_EXPIRES": "31/03/2027",
            "OUTBOOK_BROKER_URL": "amqp://broker.example",
            "OUTBOOK_DATABASE_URL": "postgresql+psycopg://db.example/outbook",
            "OUTBOOK_MAPPING": "gone.yaml",
            "OUTBOOK_ONLY": "gone.txt",
            "OUTBOOK_POLL_SECONDS": "soon",
            "OUTBOOK_WRITES": "some",
        },
        tmp_path,
    ) == [
        "OUTBOOK_BROKER_URL: must begin with redis:// or rediss://",
        f"OUTBOOK_MAPPING: no such file: {tmp_path}/gone.yaml",
        f"OUTBOOK_ONLY: no such file: {tmp_path}/gone.txt",
        f"OUTBOOK_OUTREACH__BASE_URL: must begin with https:// ({INSECURE} permits http:// for tests)",
        "OUTBOOK_OUTREACH__CLIENT_SECRET: missing",
        "OUTBOOK_OUTREACH__HOURLY_CALLS: must be greater than 0",
        "OUTBOOK_POLL_SECONDS: must be a valid integer, unable to parse string as an integer",
        "OUTBOOK_SECRET_KEY: missing, and required with Postgres",
        "OUTBOOK_WORKBOOKS__API_KEY: missing",
        "OUTBOOK_WORKBOOKS__API_KEY_EXPIRES: must be a date such as 2027-03-31",
        "OUTBOOK_WORKBOOKS__BASE_URL: must end after the host, without a path or a query",
        "OUTBOOK_WRITES: must be 'all' or 'none'",
    ]


def test_nothing_set_names_what_is_needed(tmp_path: Path) -> None:
    """A first start says which credentials are missing."""
    app = "OUTBOOK_OUTREACH__CLIENT_"
    assert problems({}, tmp_path) == [
        f"{app}ID: missing, with {app}SECRET (or set OUTBOOK_OUTREACH__ACCESS_TOKEN for a trial)",
        "OUTBOOK_WORKBOOKS__API_KEY: missing",
    ]


def test_a_verb_that_talks_to_no_vendor_needs_no_credentials(tmp_path: Path) -> None:
    """``credentials=False`` asks for none of the vendors' keys."""
    assert not config.load({}, tmp_path, credentials=False).workbooks.api_key


@pytest.mark.parametrize(
    "url",
    [
        "https://user:pw@crm.example",
        "https://crm.example?key=1",
        "https://crm.example#part",
        "ftp://crm.example",
        "crm.example",
        "https://",
        "https://crm.example:notaport",
        "https://[::1",
    ],
)
def test_a_base_url_is_scheme_host_and_port(tmp_path: Path, url: str) -> None:
    """Credentials, paths, queries and other schemes in a base URL are refused."""
    told = problems(GOOD | {"OUTBOOK_WORKBOOKS__BASE_URL": url, "OUTBOOK_ALLOW_INSECURE_HOSTS": "1"}, tmp_path)
    assert [one.partition(":")[0] for one in told] == ["OUTBOOK_WORKBOOKS__BASE_URL"]


def test_insecure_hosts_are_allowed_only_when_said(tmp_path: Path) -> None:
    """With the switch on, http:// to loopback is taken as it is."""
    given = {"OUTBOOK_WORKBOOKS__BASE_URL": "http://127.0.0.1:8081", "OUTBOOK_ALLOW_INSECURE_HOSTS": "1"}
    assert config.load(GOOD | given, tmp_path).workbooks.base_url == "http://127.0.0.1:8081"


@pytest.mark.parametrize(
    "url", ["postgres://db.example/x", "postgresql://db.example/x", "mysql://x/y", "sqlite://", "x"]
)
def test_only_the_two_databases_are_taken(tmp_path: Path, url: str) -> None:
    """A database URL of another kind, or one in memory, is refused."""
    told = problems(GOOD | {"OUTBOOK_DATABASE_URL": url}, tmp_path)
    assert told == ["OUTBOOK_DATABASE_URL: must be postgresql+psycopg://… or a file, sqlite:///…"]


@pytest.mark.parametrize("rest", ["outbook:zyx@word@db.example/x", "outbook:zyxword", "outbook@db:zyxword/x", "[::1/x"])
def test_a_database_that_would_be_looked_for_elsewhere_is_refused(tmp_path: Path, rest: str) -> None:
    """An @ in a password ends it for the driver, which then asks for a host that the rest of it names: exit 4, untold."""
    given = GOOD | {"OUTBOOK_DATABASE_URL": f"postgresql+psycopg://{rest}", "OUTBOOK_SECRET_KEY": "k" * 32}
    assert problems(given, tmp_path) == [f"OUTBOOK_DATABASE_URL: {config.MISREAD}"]
    assert "zyx" not in config.MISREAD


@pytest.mark.parametrize(
    "rest",
    [
        "outbook:a%40b@db:5432/x",
        "outbook:a/b@[::1]:5432/x",
        "outbook@/x?host=/run/pg",
        "db",
        "/x?user=a@b",
        "u:@h:/x?a=1",
    ],
)
def test_a_database_is_found_however_it_is_written(tmp_path: Path, rest: str) -> None:
    """With a password or none, a host, an address or a socket."""
    given = GOOD | {"OUTBOOK_DATABASE_URL": f"postgresql+psycopg://{rest}", "OUTBOOK_SECRET_KEY": "k" * 32}
    assert config.load(given, tmp_path).on_postgres


def test_no_problem_tells_a_secret(tmp_path: Path) -> None:
    """A secret put into any variable whatever never comes back in a message or a repr."""
    for name, (_path, secret) in config.VARIABLES.items():
        names = [name, f"{name}_FILE"] if secret else [name]
        if name in {"OUTBOOK_MAPPING", "OUTBOOK_ONLY"}:
            continue  # a missing file is named, or nobody could mend it
        for one in names:
            try:
                told = repr(config.load({one: CANARY, **GOOD} | {one: CANARY}, tmp_path))
            except config.SettingsInvalid as invalid:
                told = "\n".join([str(invalid), repr(invalid), *invalid.problems])
            if name not in {
                "OUTBOOK_OUTREACH__CLIENT_ID",
                "OUTBOOK_OUTREACH__REDIRECT_URI",
                "OUTBOOK_CONSOLE__HOST",
                "OUTBOOK_DATA_DIR",
            }:
                assert CANARY not in told, one


def test_a_misspelt_name_is_pointed_out(tmp_path: Path) -> None:
    """A variable close to a known one is a problem that says which was meant."""
    assert problems(GOOD | {"OUTBOOK_POLL_SECOND": "5", "OUTBOOK_WORKBOOKS_API_KEY": CANARY}, tmp_path) == [
        "OUTBOOK_POLL_SECOND: unknown, did you mean OUTBOOK_POLL_SECONDS?",
        "OUTBOOK_WORKBOOKS_API_KEY: unknown, did you mean OUTBOOK_WORKBOOKS__API_KEY?",
    ]


def test_foreign_names_are_left_alone(tmp_path: Path) -> None:
    """What Kubernetes injects for a service called outbook-console, and anything far from our names, is ignored."""
    foreign = {
        "OUTBOOK_CONSOLE_PORT": "tcp://10.0.0.1:8080",
        "OUTBOOK_CONSOLE_SERVICE_HOST": "10.0.0.1",
        "OUTBOOK_CONSOLE_SERVICE_PORT": "8080",
        "OUTBOOK_VERSION": "7",
    }
    assert config.load(GOOD | foreign, tmp_path) == config.load(GOOD, tmp_path)


def test_the_environment_goes_before_the_env_file(tmp_path: Path) -> None:
    """``.env`` in the current directory fills in what the environment does not say; ``$`` in it stays as it is."""
    (tmp_path / ".env").write_text(
        "OUTBOOK_OUTREACH__ACCESS_TOKEN='from-$file'\nexport OUTBOOK_POLL_SECONDS=30\nOUTBOOK_WORKBOOKS__API_KEY=old\n"
    )
    settings = config.load({"OUTBOOK_WORKBOOKS__API_KEY": "new", "OUTBOOK_POLL_SECONDS": ""}, tmp_path)
    assert settings.outreach.access_token.get_secret_value() == "from-$file"
    assert settings.workbooks.api_key.get_secret_value() == "new"
    assert settings.poll_seconds == 30


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """NAME_FILE names a file, relative to the current directory, whose content without its line end is the secret."""
    (tmp_path / "key").write_text("key-from-file\n")
    given = {"OUTBOOK_OUTREACH__ACCESS_TOKEN": "token-1", "OUTBOOK_WORKBOOKS__API_KEY_FILE": "key"}
    assert config.load(given, tmp_path).workbooks.api_key.get_secret_value() == "key-from-file"


def test_every_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """Each of them, whatever it holds, is read as if it stood in the environment."""
    (tmp_path / "pilot.txt").touch()
    texts = {"OUTBOOK_DATABASE_URL": "sqlite:///own.db", "OUTBOOK_BROKER_URL": "redis://:word@broker/0"}
    secrets = {name: path for name, (path, secret) in config.VARIABLES.items() if secret}
    assert len(secrets) >= 12
    for name, path in secrets.items():
        text = texts.get(name, "https://alerts.example/secret")
        (tmp_path / "told").write_text(f"{text}\n")
        others = {one: value for one, value in GOOD.items() if one != name}
        found: object = config.load(others | {f"{name}_FILE": "told"}, tmp_path)
        for part in path:
            found = getattr(found, part)
        assert isinstance(found, SecretStr)
        assert found.get_secret_value().endswith(text.removeprefix("sqlite:///")), name


def test_a_secret_given_twice_or_unreadable_is_a_problem(tmp_path: Path) -> None:
    """Two sources for one secret, a missing file and an empty one are each told by name."""
    (tmp_path / "empty").write_text("\n")
    given = {
        "OUTBOOK_OUTREACH__ACCESS_TOKEN": CANARY,
        "OUTBOOK_OUTREACH__ACCESS_TOKEN_FILE": "empty",
        "OUTBOOK_WORKBOOKS__API_KEY_FILE": "gone",
        "OUTBOOK_SECRET_KEY_FILE": "empty",
    }
    assert problems(given, tmp_path) == [
        "OUTBOOK_OUTREACH__ACCESS_TOKEN: set here and by OUTBOOK_OUTREACH__ACCESS_TOKEN_FILE; keep one",
        "OUTBOOK_SECRET_KEY_FILE: the file is empty",
        "OUTBOOK_WORKBOOKS__API_KEY_FILE: the file cannot be read (FileNotFoundError)",
    ]


def test_the_environments_secret_hides_the_file_named_in_env(tmp_path: Path) -> None:
    """A NAME_FILE in ``.env`` does not quarrel with a NAME in the environment."""
    (tmp_path / ".env").write_text("OUTBOOK_WORKBOOKS__API_KEY_FILE=gone\n")
    assert config.load(GOOD, tmp_path).workbooks.api_key.get_secret_value() == "key-1"


def test_the_mapping_here_goes_before_the_shipped_one(tmp_path: Path) -> None:
    """A mapping under the current directory is taken; without one, the one that came with the program."""
    assert config.load(GOOD, tmp_path).mapping == config.shipped_mapping()
    own = tmp_path / "mappings" / "outreach-workbooks.yaml"
    own.parent.mkdir()
    own.write_text("version: 1\n")
    assert config.load(GOOD, tmp_path).mapping == own


def test_the_secret_key_is_made_once_and_kept(tmp_path: Path) -> None:
    """The key survives restarts, nobody else may read it, and a setting goes before it."""
    settings = config.load(GOOD, tmp_path)
    key = config.secret_key(settings)
    path = tmp_path / ".data" / "secret.key"
    assert len(key) >= 43
    assert config.secret_key(settings) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["secret.key"]
    assert config.secret_key(config.load(GOOD | {"OUTBOOK_SECRET_KEY": "own"}, tmp_path)) == "own"


def test_an_empty_key_file_is_never_a_fresh_start(tmp_path: Path) -> None:
    """A damaged key is a problem: making a new one would lose the vault."""
    settings = config.load(GOOD, tmp_path)
    settings.data_dir.mkdir()
    (settings.data_dir / "secret.key").touch()
    with pytest.raises(config.SettingsInvalid, match=r"OUTBOOK_SECRET_KEY: .* is empty"):
        config.secret_key(settings)


def _ask_for_key(cwd: str) -> str:
    return config.secret_key(config.load(GOOD, Path(cwd)))


@pytest.mark.processes
def test_processes_that_start_at_once_agree_on_the_key(tmp_path: Path) -> None:
    """Eight questions from four processes to an empty data directory get one answer."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_ask_for_key, [str(tmp_path)] * 8, chunksize=1))) == 1


@pytest.mark.parametrize(
    "url",
    [
        "redis://broker.example",
        "redis://broker.example:6379/",
        "redis://:zyx%40%2F%3A@broker.example/0",
        "rediss://user:zyx@broker.example:6380/1?ssl_cert_reqs=required",
        "redis://[::1]:6379/15",
    ],
)
def test_a_broker_that_can_be_found(url: str, tmp_path: Path) -> None:
    """With and without password, port and number."""
    assert config.load(GOOD | {"OUTBOOK_BROKER_URL": url}, tmp_path).broker_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://:zyx",
        "redis://:zyx@",
        "redis://:zyx/1@broker.example:6379/0",
        "redis://:zyx#1@broker.example:6379/0",
        "redis://:6379?zyx@broker.example/0",
        "redis://:6379#zyx@broker.example/0",
        "redis://user:123/4?zyx@broker.example:6379/0",
        "redis://:zyx@broker.example:0/0",
        "redis://:zyx@broker.example:99999/0",
        "redis://:zyx@broker.example/zyx",
        "redis://:zyx@[::1/0",
    ],
)
def test_a_broker_that_cannot_be_found_is_told_without_its_password(url: str, tmp_path: Path) -> None:
    """One sentence with what to write; the workers would end with a traceback that quotes the URL."""
    (told,) = problems(GOOD | {"OUTBOOK_BROKER_URL": url}, tmp_path)
    assert told.startswith("OUTBOOK_BROKER_URL: must be redis://:PASSWORD@HOST:PORT/NUMBER")
    assert "zyx" not in told
