import re
from pathlib import Path

import pytest

import vecna.adapters.redis
from vecna.adapters.redis import scripts
from vecna.adapters.redis.scripts import Script

LUA = Path(vecna.adapters.redis.__file__).parent / "lua"
ALL = [value for value in vars(scripts).values() if isinstance(value, Script)]
#: What Redis runs on a full server only in scripts that may, and what frees memory.
FREEING = (
    "settle",
    "extend",
    "forfeit",
    "cancel",
    "lease",
    "put_states",
    "release",
    "forget_states",
    "accept",
    "outbox_drop",
    "purge",
)


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)
def test_a_script_is_sent_without_comments_and_with_its_flags(script):
    first, *rest = script.source.splitlines()
    assert re.fullmatch(r"#!lua( flags=(no-writes|allow-oom))?", first)
    assert not [line for line in rest if line.lstrip().startswith("--")]
    assert re.fullmatch(r"[0-9a-f]{40}", script.sha)


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)
def test_a_script_reads_the_time_once(script):
    assert script.source.count("call('TIME')") <= 2  # schedules have microseconds of their own


@pytest.mark.parametrize("name", FREEING)
def test_what_ends_work_may_run_when_memory_is_full(name):
    (script,) = [script for script in ALL if script.name == name]
    assert script.source.startswith("#!lua flags=allow-oom\n")


def test_the_commands_that_a_user_needs_rights_for_are_those_of_the_scripts():
    called = re.compile(r"\b(?:call|push|push_head)\('([A-Z]+)'")
    found = {command for script in ALL for command in called.findall(script.source)}
    assert list(scripts.COMMANDS) == sorted(found - {"TIME", "PUBLISH"})


def test_a_script_is_not_read_before_it_is_used(monkeypatch):
    read = []

    def put_together(name):
        read.append(name)
        return "#!lua\n"

    monkeypatch.setattr(scripts, "_put_together", put_together)
    script = Script("lease")
    assert read == []
    assert (script.source, script.sha, script.source) == ("#!lua\n", script.sha, "#!lua\n")
    assert read == ["lease"]


def test_all_are_read_with_the_first_one_that_is_used(monkeypatch):
    """An upgrade under a process that runs must not give it scripts of another version."""
    assert Script("lease").source
    read: list[str] = []
    monkeypatch.setattr(scripts, "_read", read.append)
    for script in ALL:
        assert Script(script.name).source == script.source
    assert read == []


def test_payloads_are_opaque():
    for script in ALL:
        assert "cjson" not in script.source
        assert "cmsgpack" not in script.source


def test_every_file_is_used():
    included = {part for path in LUA.glob("*.lua") for part in re.findall(r"-- include: (.*)", path.read_text())}
    used = {script.name for script in ALL} | {name for line in included for name in line.split()}
    assert {path.stem for path in LUA.glob("*.lua")} - used == set()


def test_files_are_short_enough_to_read():
    lengths = {path.name: path.read_text().count("\n") for path in LUA.glob("*.lua")}
    assert {name: length for name, length in lengths.items() if length > 115} == {}
