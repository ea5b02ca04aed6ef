import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecna.adapters.redis import RedisAddress, parse_url
from vecna.domain.errors import ConfigError

HOST = (("localhost", 6379),)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", RedisAddress(HOST)),
        ("redis://localhost/", RedisAddress(HOST)),
        ("redis://localhost:6380/2", RedisAddress((("localhost", 6380),), db=2)),
        ("redis://secret@localhost", RedisAddress(HOST, password="secret")),
        ("redis://:secret@localhost", RedisAddress(HOST, password="secret")),
        ("redis://ada:secret@localhost/1", RedisAddress(HOST, username="ada", password="secret", db=1)),
        ("redis://a%3Ab:p%40ss%2Fw@localhost", RedisAddress(HOST, username="a:b", password="p@ss/w")),
        ("redis://p@ss/w#?rd@localhost", RedisAddress(HOST, password="p@ss/w#?rd")),
        ("redis://@localhost", RedisAddress(HOST)),
        ("rediss://localhost", RedisAddress(HOST, tls=True)),
        ("redis://[::1]", RedisAddress((("::1", 6379),))),
        ("redis://[2001:db8::1]:7000/3", RedisAddress((("2001:db8::1", 7000),), db=3)),
        ("redis+socket:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        ("redis+socket:///run/redis.sock:/3", RedisAddress(path="/run/redis.sock", db=3)),
        ("redis+socket:///run/redis.sock:3", RedisAddress(path="/run/redis.sock", db=3)),
        ("redis+socket:///run/a@b.sock", RedisAddress(path="/run/a@b.sock")),
        ("redis+socket://secret@/run/redis.sock:/0", RedisAddress(path="/run/redis.sock", password="secret")),
        ("redis+socket:///run/my%20redis.sock", RedisAddress(path="/run/my redis.sock")),
        ("redis://a,b:7000,[::1]", RedisAddress((("a", 6379), ("b", 7000), ("::1", 6379)))),
        ("redis://a,b/", RedisAddress((("a", 6379), ("b", 6379)))),
        ("rediss://u:p@a,b", RedisAddress((("a", 6379), ("b", 6379)), username="u", password="p", tls=True)),
    ],
)
def test_a_url_is_understood(url, expected):
    assert parse_url(url) == expected


def test_several_hosts_are_a_cluster_unless_they_are_sentinels():
    assert parse_url("redis://a,b").is_cluster
    assert not parse_url("redis://a").is_cluster
    sentinels = parse_url("redis://secret@a,b:1/2", master_name="mymaster")
    assert not sentinels.is_cluster
    assert sentinels == RedisAddress((("a", 26379), ("b", 1)), password="secret", db=2, master_name="mymaster")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://localhost",
        "redis:/localhost",
        "redis://",
        "redis://secret-word@",
        "redis://secret-word@localhost?db=1",
        "redis://secret-word@localhost#1",
        "redis://secret-word@localhost/one",
        "redis://secret-word@localhost/1/2",
        "redis://secret-word@localhost/-1",
        "redis://secret-word@localhost/12345678",
        "redis://secret-word@localhost:port",
        "redis://secret-word@localhost:0",
        "redis://secret-word@localhost:65536",
        "redis://secret-word@localhost:99999999999999999999",
        "redis://secret-word@localhost:",
        "redis://secret-word@local host",
        "redis://secret-word@::1",
        "redis://secret-word@[::1",
        "redis://secret-word@a,,b",
        "redis://secret-word@a,b/1",
        "redis://secret-word@a b,c",
        "redis://user-without:@localhost",
        "redis://secret-word%ff@localhost",
        "redis+socket://secret-word@relative/path.sock",
        "redis+socket://",
        "redis+socket:///",
        "redis+socket://secret-word@/run/redis.sock:/x",
        "redis+socket:///run/redis.sock?db=1",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url):
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert "secret-word" not in str(caught.value)


def test_sentinels_cannot_be_a_socket():
    with pytest.raises(ConfigError, match="mymaster"):
        parse_url("redis+socket:///run/redis.sock", master_name="mymaster")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:secret-word@localhost:6380/2", "redis://localhost:6380/2"),
        ("rediss://secret-word@[::1],b", "rediss://[::1]:6379,b:6379"),
        ("redis+socket://secret-word@/run/redis.sock:/1", "redis+socket:///run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_password(url, shown):
    address = parse_url(url)
    assert str(address) == shown
    assert "secret-word" not in repr(address)
    assert "secret-word" not in f"{[address]}"


@pytest.mark.slow
@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text):
    for url in (text, f"redis://{text}", f"rediss://x:{text}", f"redis+socket://{text}"):
        for master in ("", "m"):
            try:
                parse_url(url, master)
            except ConfigError:
                continue
