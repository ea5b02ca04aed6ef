"""docs/configuration.md follows from the code; `python -m tests.unit.app.test_config_docs` renews its table."""

import inspect
import re
from pathlib import Path
from typing import Any

import attrs

from vecna.app.config import CHECKS, Config, RedisConfig
from vecna.app.config_env import SYNONYMS, variable_of

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
#: What a default that follows from other settings is called.
DERIVED = {
    "broker": "required",
    "lock": "`broker`",
    "result_backend": "`broker`",
    "heartbeat": "`lease` / 3 (10)",
    "signing_keys": "none",
}


def effects(cls: type) -> dict[str, str]:
    """What the docstring says of each attribute, in one line."""
    section = inspect.getdoc(cls).split("Attributes:\n")[1].split("\nRaises:")[0]  # type: ignore[union-attr]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).strip() for name, text in entries}


def default_of(key: str) -> str:
    default: Any = Config(broker="memory://")
    for name in key.split("."):
        default = getattr(default, name)
    if key in DERIVED:
        return DERIVED[key]
    if default is None:
        return "none"
    if default == "":
        return "empty"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def table() -> str:
    own, redis = effects(Config), effects(RedisConfig)
    live = {attribute.name for attribute in attrs.fields(Config) if attribute.metadata.get("live")}
    rows = ["| key | variable | default | while running | effect |", "| --- | --- | --- | --- | --- |"]
    for key in CHECKS:
        effect = redis[key.removeprefix("redis.")] if key.startswith("redis.") else own[key]
        names = [variable_of(key), *(name for name, of in SYNONYMS.items() if of == key)]
        variables = " or ".join(f"`VECNA_{name}`" for name in names)
        when = "—" if effect.startswith("no effect") else "changes" if key in live else "stays"
        rows.append(f"| `{key}` | {variables} | {default_of(key)} | {when} | {effect} |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def test_the_page_says_what_the_code_does() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_table(page), "renew it: python -m tests.unit.app.test_config_docs"


def test_every_setting_is_described_where_help_shows_it() -> None:
    assert list(effects(Config)) == [a.name for a in attrs.fields(Config) if a.init]
    assert list(effects(RedisConfig)) == [a.name for a in attrs.fields(RedisConfig)]


def test_a_setting_without_effect_says_so() -> None:
    silent = {name for name, effect in effects(RedisConfig).items() if effect.startswith("no effect")}

    assert silent == {a.name for a in attrs.fields(RedisConfig) if not a.metadata.get("effect", True)}
    assert not any(effect.startswith("no effect") for effect in effects(Config).values())


def test_the_example_on_the_page_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "config.yml"
    file.write_text(example)
    config = Config.from_yaml(file)

    assert config.default_queue == "vecna_tasks"
    assert config.redis.max_active == 50


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
