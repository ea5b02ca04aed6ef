import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vecna.app.config import CHECKS, Config
from vecna.app.config_yaml import MAX_BYTES, parse_yaml
from vecna.domain.errors import ConfigError

URL = "redis://localhost:6379/0"
SECRET = "c4n4ry"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def read(file: Path, text: str | bytes) -> Config:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return Config.from_yaml(file)


def test_the_documented_file_is_read(file: Path) -> None:
    config = read(
        file,
        """
# as the original's documentation has it
broker: redis://:pw@localhost:6379/0
lock: 'redis://localhost:6379/1'
default_queue: vecna_tasks
result_backend: "redis://localhost:6379/2"
results_expire_in: 60
no_unix_signals: yes
default_send_concurrency: 7
redis:
  max_idle: 3
  max_active: 3
  max_idle_timeout: 240
  wait: true
  read_timeout: 15.5
  write_timeout: 15
  connect_timeout: 15
  normal_tasks_poll_period: 1000
  delayed_tasks_poll_period: 500
  delayed_tasks_key: a
  delayed_tasks_cache_key: b
  periodic_tasks_key: c
  canceled_tasks_key: d
  master_name: main
""",
    )

    assert config.broker == "redis://:pw@localhost:6379/0"
    assert (config.lock, config.result_backend) == ("redis://localhost:6379/1", "redis://localhost:6379/2")
    assert (config.results_expire_in, config.no_unix_signals, config.default_send_concurrency) == (60, True, 7)
    assert (config.redis.max_active, config.redis.read_timeout, config.redis.master_name) == (3, 15.5, "main")
    assert config.redis.canceled_tasks_key == "d"


def test_the_path_may_be_text(file: Path) -> None:
    file.write_text(f"broker: {URL}")

    assert Config.from_yaml(str(file)).broker == URL


@pytest.mark.parametrize(
    "rest",
    ["lock:", "lock: ~", "lock: null", "redis:", "redis: ~", "redis: {}", "max_threads:", "redis:\n  max_idle:", "..."],
)
def test_null_counts_as_not_set(file: Path, rest: str) -> None:
    assert read(file, f"broker: {URL}\n{rest}\n") == Config(broker=URL)


def test_a_byte_order_mark_is_no_fault(file: Path) -> None:
    assert read(file, b"\xef\xbb\xbf" + f"broker: {URL}".encode()).broker == URL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"broker: {URL}\ndefualt_queue: a", "line 2: unknown key 'defualt_queue': did you mean 'default_queue'?"),
        (f"broker: {URL}\nDefaultQueue: a", "line 2: unknown key 'DefaultQueue': did you mean 'default_queue'?"),
        (f"broker: {URL}\nmax_idle: 3", "line 2: unknown key 'max_idle': did you mean 'redis.max_idle'?"),
        (f"broker: {URL}\nredis.max_idle: 3", "line 2: write max_idle indented, below 'redis:'"),
        (
            f"broker: {URL}\nredis:\n  max_idel: 3",
            "line 3: unknown key 'redis.max_idel': did you mean 'redis.max_idle'?",
        ),
        (f"broker: {URL}\nredis:\n  redis:\n    wait: true", "line 3: unknown key 'redis.redis'"),
        (f"broker: {URL}\n? [a]\n: 1", "line 2: unknown key ''"),
        (f"broker: {URL}\n1: 2", "line 2: unknown key '1'"),
        (f"broker: {URL}\nmax_threads: '10'", r"line 2: max_threads must be a whole number .*, not '10' \(str\)"),
        (f"broker: {URL}\n\nmax_threads: true", "line 3: max_threads must be a whole number .*, not True"),
        (f"broker: {URL}\nmax_threads: [1]", "line 2: max_threads must be a whole number .*, not a list"),
        (f"broker: {URL}\nmax_threads: {{a: 1}}", "line 2: max_threads must be a whole number .*, not a mapping"),
        (
            f"broker: {URL}\nresults_expire_in: 1h",
            r"line 2: results_expire_in must be a number of seconds.*'1h' \(str\)",
        ),
        (f"broker: {URL}\nresults_expire_in: 2026-01-01", "line 2: results_expire_in must be a number of seconds"),
        (f"broker: {URL}\nresults_expire_in: 2026-13-45", "line 2: results_expire_in must be a number of seconds"),
        (f"broker: {URL}\nresults_expire_in: .nan", "line 2: results_expire_in must be"),
        (f"broker: {URL}\nno_unix_signals: 'yes'", "line 2: no_unix_signals must be true or false"),
        (f"broker: {URL}\nno_unix_signals: !!bool maybe", "line 2: no_unix_signals must be true or false"),
        (f"broker: {URL}\nlease: !!int ''", "line 2: lease must be"),
        (f"broker: {URL}\nlease: !!timestamp x", "line 2: lease must be"),
        (f"broker: {URL}\ndefault_queue: yes", "line 2: default_queue must be .*, not True; put text in quotes"),
        (
            f"broker: {URL}\ndefault_queue: 2024",
            r"line 2: default_queue must be .*, not 2024 \(int\); put text in quotes",
        ),
        (f"broker: {URL}\nredis: 3", "line 2: redis takes keys of its own, indented below it"),
        (f"broker: {URL}\nredis: [wait]", "line 2: redis takes keys of its own"),
        (f"broker: {URL}\nlease: 5\nbroker: {URL}", "line 3: broker is there already, in line 1"),
        (f"broker: {URL}\nredis: {{}}\nredis: {{}}", "line 3: redis is there already, in line 2"),
        (f"broker: {URL}\nredis:\n  wait: true\n  wait: true", "line 4: redis.wait is there already, in line 3"),
        (f"broker: :{SECRET}@localhost", "line 1: broker has no scheme"),
        (f"broker: {URL}\nlock: [redis://:{SECRET}@h]", "line 2: lock must be .*, not a list"),
        (f"broker: {URL}\nheartbeat: 20", r"config.yml: heartbeat \(20 s\) must be at most half of lease"),
        ("lease: 30", "config.yml: broker is missing: give a URL"),
        ("broker:", "config.yml: broker is missing"),
        ("", "config.yml: broker is missing"),
        ("# nothing", "config.yml: broker is missing"),
        ("- broker", "line 1: write settings as 'key: value'"),
        (URL, "line 1: write settings as 'key: value'"),
        (
            f"broker: 'redis://:{SECRET}@h\nlease: 3",
            "config.yml, line [0-9]+: is not YAML: found unexpected end of stream",
        ),
        (f"broker: {URL}\n\tlease: 3", "line 2: is not YAML"),
        (f"broker: {URL}\n--- \nlock: {URL}", "line 2: is not YAML: but found another document"),
        (f"broker: *{SECRET}", "line 1: is not YAML: found undefined alias ...$"),
        ("broker: !!python/object/apply:os.getcwd []", "line 1: broker must be .*, not a list"),
        ("broker: !!python/name:os.getcwd x", "line 1: is not YAML: could not determine a constructor"),
        ("broker: \x07", "config.yml: is not YAML: it contains a character that is not allowed"),
        ('broker: "\\UFFFFFFFF"', "config.yml: is not YAML: it contains a character that is not allowed"),
        ('broker: "redis://\\ud800"', "line 1: broker contains a space or control character"),
        pytest.param("[" * 2_000, "config.yml: is nested too deeply", marks=pytest.mark.slow),
        (b"broker: \xff\xfe", "config.yml: is not UTF-8 (byte 8)".replace("(", r"\(").replace(")", r"\)")),
        ("#" * (MAX_BYTES + 1), f"config.yml: is larger than {MAX_BYTES} bytes"),
    ],
    ids=lambda value: None if isinstance(value, bytes) or len(value) > 60 else str(value)[:40],
)
def test_a_bad_file_is_refused_naming_file_and_line(file: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(file, text)

    assert str(caught.value).startswith(str(file))
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


FRAGMENTS = [
    *(
        "broker",
        "redis",
        "lease",
        ": ",
        "\n",
        "  ",
        "\t",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "? ",
        "<<",
        "---",
        "%YAML 1.1",
        "#",
    ),
    *("&a ", "*a", "!!int ", "!!float ", "!!bool ", "!!timestamp ", "!!binary ", "!!set ", "!x ", '"', "'", "|", ">"),
    *("\\U", "\\x", "FFFFFFFF", "1:30", "0b", "0x", "1_0", "2026-01-01", "99-99", ".inf", "~", "-", "12", "redis://h"),
]


@given(st.binary(max_size=60) | st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join).map(str.encode))
@example(b'lease: !!int "0x"')
@example(b"lease: !!timestamp 2026-99-99")
def test_whatever_a_file_holds_it_is_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(ConfigError):
        found = parse_yaml(content, Path("c.yml"), CHECKS)
        assert set(found) <= set(CHECKS)


def test_aliases_cost_nothing(file: Path) -> None:
    bomb = "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 60))

    with pytest.raises(ConfigError, match="line 1: unknown key 'a0'"):
        read(file, bomb)


@pytest.mark.parametrize("name", ["missing.yml", "a\x00b"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: cannot be read: "):
        Config.from_yaml(tmp_path / name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        Config.from_yaml(tmp_path)


def test_the_origin_of_each_setting_is_known(file: Path) -> None:
    config = read(file, f"broker: {URL}\nredis:\n  wait: true\n")

    assert config.origin_of("broker") == f"{file}, line 1"
    assert config.origin_of("redis.wait") == f"{file}, line 3"
    assert config.origin_of("lease") == ""
