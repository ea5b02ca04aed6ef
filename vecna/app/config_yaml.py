"""Settings out of a YAML file, each with the line that it stands in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from vecna.app.config_checks import Check, hint
from vecna.app.config_env import Found
from vecna.domain.errors import ConfigError

MAX_BYTES: Final = 256 * 1024
SECTION: Final = "redis"


def read_file(path: Path) -> bytes:
    """The content of a configuration file.

    Raises:
        ConfigError: it cannot be read or is larger than 256 KiB.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name
        why = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise ConfigError(f"{path}: cannot be read: {why}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES} bytes; is it a configuration file?")
    return content


def parse_yaml(content: bytes, path: Path, checks: Mapping[str, Check]) -> dict[str, Found]:
    """What a file says of each setting; null counts as not set.

    Args:
        content: of the file.
        path: how errors name it.
        checks: the settings, by key.

    Raises:
        ConfigError: not YAML, not a mapping, an unknown key, a key twice, a wrong type or range.
    """
    try:
        loader = yaml.SafeLoader(content.decode("utf-8-sig"))
        try:
            root = loader.get_single_node()
            return _Reader(loader, path, checks).read(root) if root else {}
        finally:
            loader.dispose()
    except ConfigError:
        raise
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not UTF-8 (byte {fault.start})") from None
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        # Only what is wrong, not the text around it: there may be a password in it.
        problem = re.sub(r"'[^']{4,}'", "...", fault.problem or "it cannot be understood")
        raise ConfigError(f"{where}: is not YAML: {problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # the latter: an escape such as "\\UFFFFFFFF"
        raise ConfigError(f"{path}: is not YAML: it contains a character that is not allowed") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None


class _Reader:
    """Walks through the nodes, because only they know their lines."""

    def __init__(self, loader: yaml.SafeLoader, path: Path, checks: Mapping[str, Check]) -> None:
        self._loader = loader
        self._path = path
        self._checks = checks
        self._found: dict[str, Found] = {}

    def read(self, root: yaml.Node) -> dict[str, Found]:
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{self._at(root)}: write settings as 'key: value'")
        self._read_mapping(root, "")
        return self._found

    def _read_mapping(self, mapping: yaml.MappingNode, section: str) -> None:
        lines: dict[str, int] = {}
        for key_node, node in mapping.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            key = section + name
            if key in lines:
                raise ConfigError(f"{self._at(key_node)}: {key} is there already, in line {lines[key]}")
            lines[key] = key_node.start_mark.line + 1
            if key == SECTION:
                self._read_section(node)
            elif key in self._checks and "." not in name:
                self._read_setting(key, node)
            elif key in self._checks:
                raise ConfigError(f"{self._at(key_node)}: write {name.rpartition('.')[2]} indented, below '{SECTION}:'")
            else:
                known = [each for each in (*self._checks, SECTION) if each.startswith(section)]
                raise ConfigError(f"{self._at(key_node)}: unknown key {key[:60]!r}: {hint(key, known)}")

    def _read_section(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            self._read_mapping(node, f"{SECTION}.")
        elif not (isinstance(node, yaml.ScalarNode) and node.value in ("", "~", "null")):
            raise ConfigError(f"{self._at(node)}: {SECTION} takes keys of its own, indented below it")

    def _read_setting(self, key: str, node: yaml.Node) -> None:
        if not isinstance(node, yaml.ScalarNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
            raise ConfigError(f"{self._at(node)}: {key} must be {self._checks[key].wanted}, not {kind}")
        try:
            value = self._loader.construct_object(node)
        except (ValueError, LookupError, AttributeError):  # tagged as a date, a number ..., and is none: 2026-13-45
            raise ConfigError(f"{self._at(node)}: {key} must be {self._checks[key].wanted}") from None
        if value is None:
            return
        try:
            self._checks[key].check(value, key)
        except ConfigError as fault:
            advice = "; put text in quotes" if self._checks[key].fits(node.value) else ""
            raise ConfigError(f"{self._at(node)}: {fault}{advice}") from None
        self._found[key] = Found(value, self._at(node))

    def _at(self, node: yaml.Node) -> str:
        return f"{self._path}, line {node.start_mark.line + 1}"
