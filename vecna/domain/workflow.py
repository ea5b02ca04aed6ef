"""Group, Chord and Chain: how calls are put together. Immutable; what is passed in is never changed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import attrs

from vecna.domain.errors import InconsistentCode, InvalidSignature, NoTasks
from vecna.domain.ids import check_id, new_id
from vecna.domain.parts import optional_id
from vecna.domain.shown import shown
from vecna.domain.signature import Signature
from vecna.domain.values import MAX_DEPTH

#: Links of one chain, and of one group.
MAX_LINKS: Final = 10_000
MAX_MEMBERS: Final = 1_000_000


def _links(values: tuple[Any, ...], what: str, most: int) -> tuple[Link, ...]:
    """The links given one by one, or as one iterable."""
    if len(values) == 1 and not isinstance(values[0], Signature | Group | Chord | Chain):
        (given,) = values
        if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping | set | frozenset):
            raise InvalidSignature(f"{what} takes signatures, groups, chords and chains, not {shown(given)}")
        values = tuple(itertools.islice(given, most + 1))
    for value in values:
        _check_link(value, what)
    if not values:
        raise NoTasks(f"a {what} of no tasks: give it at least one signature")
    if len(values) > most:
        raise InvalidSignature(f"a {what} of so many links is too long: at most {most}")
    return values


def _check_link(value: object, what: str) -> None:
    if not isinstance(value, Signature | Group | Chord | Chain):
        raise InvalidSignature(f"{what} takes signatures, groups, chords and chains, not {shown(value)}")


def _explicit_codes(links: Iterable[Link]) -> Iterator[str]:
    for link in links:
        if isinstance(link, Signature):
            if link.code != link.uuid:
                yield link.code
        elif link.explicit_code:
            yield link.explicit_code


def _explicit_code(code: object, links: Iterable[Link]) -> str:
    codes = set(_explicit_codes(links))
    if given := "" if code is None else optional_id(code, "code"):
        codes.add(given)
    if len(codes) > 1:
        few = ", ".join(sorted(codes)[:5])
        raise InconsistentCode(f"one workflow has one code, but these were given: {few}")
    return codes.pop() if codes else ""


def _ids(links: Iterable[Link]) -> Iterator[str]:
    """Ids of all tasks, groups and chains."""
    for link in links:
        if isinstance(link, Signature):
            yield link.uuid
        else:
            yield link.group_uuid if isinstance(link, Group) else link.chain_uuid
            yield from _ids(link.tasks)


def _check_unique(links: Iterable[Link], taken: Iterable[str]) -> None:
    seen = set(taken)
    for uuid in _ids(links):
        if uuid in seen:
            raise InvalidSignature(f"{uuid} stands twice in one workflow: use signature.clone()")
        seen.add(uuid)


def _depth(link: Link) -> int:
    return 0 if isinstance(link, Signature) else link.depth


def share_code(signature: Signature, code: str) -> Signature:
    """The same as `signature.with_code(code)`."""
    return signature.with_code(code)


def _coded(links: Iterable[Link], code: str) -> tuple[Link, ...]:
    return tuple([link.with_code(code) for link in links])


@attrs.frozen(init=False, repr=False, slots=True)
class Group:
    """Links that run side by side.

    Args:
        *links: signatures, groups, chords and chains; also one iterable of them.
        code: what the whole can be cancelled by; the group's id when left out.
        group_uuid: the group's id; a new one when left out.

    Raises:
        NoTasks: no links. InvalidSignature: one uuid twice, or something else than a link.
        InconsistentCode: different explicit codes.
    """

    tasks: tuple[Link, ...]
    group_uuid: str
    code: str
    explicit_code: str
    depth: int = attrs.field(eq=False)

    def __init__(self, *links: Link | Iterable[Link], code: str = "", group_uuid: str | None = None) -> None:
        members = _links(links, "Group", MAX_MEMBERS)
        uuid = new_id() if group_uuid is None else check_id(group_uuid, "group id", InvalidSignature)
        explicit = _explicit_code(code, members)
        _check_unique(members, [uuid])
        final = explicit or uuid
        self.__attrs_init__(
            tasks=tuple([self._member(link, final, uuid, len(members)) for link in members]),
            group_uuid=uuid,
            code=final,
            explicit_code=explicit,
            depth=_checked_depth(members),
        )

    @staticmethod
    def _member(link: Link, code: str, uuid: str, count: int) -> Link:
        if not isinstance(link, Signature):
            return link.with_code(code)
        coded = link.with_code(code) if link.on_success or link.on_error else link
        return coded.evolve(code=code, group_uuid=uuid, group_task_count=count)

    @property
    def uuid(self) -> str:
        """The group's id."""
        return self.group_uuid

    def signatures(self) -> Iterator[Signature]:
        """All calls in it, nested ones included, in order."""
        return _leaves(self.tasks)

    def with_code(self, code: str) -> Group:
        """The same group under another code."""
        return self if self.code == code else _changed(self, tasks=_coded(self.tasks, code), code=code)

    def __or__(self, other: Link) -> Chord:
        return Chord(self, other)

    def __repr__(self) -> str:
        return f"<Group {self.group_uuid} of {len(self.tasks)}>"


@attrs.frozen(init=False, repr=False, slots=True)
class Chain:
    """Links that run one after the other, each with the results of the one before behind its own arguments.

    What follows a group is its chord callback.

    Args:
        *links: signatures, groups, chords and chains; also one iterable of them.
        code: what the whole can be cancelled by; the first task's id when left out.
        chain_uuid: the chain's id; a new one when left out.

    Raises:
        NoTasks: no links. InvalidSignature: one uuid twice, more than 10,000 links, or something else than a link.
        InconsistentCode: different explicit codes.
    """

    tasks: tuple[Link, ...]
    chain_uuid: str
    code: str
    explicit_code: str
    depth: int = attrs.field(eq=False)

    def __init__(self, *links: Link | Iterable[Link], code: str = "", chain_uuid: str | None = None) -> None:
        steps = _links(links, "Chain", MAX_LINKS)
        uuid = new_id() if chain_uuid is None else check_id(chain_uuid, "chain id", InvalidSignature)
        explicit = _explicit_code(code, steps)
        _check_unique(steps, [uuid])
        final = explicit or next(_leaves(steps)).uuid
        self.__attrs_init__(
            tasks=_coded(steps, final),
            chain_uuid=uuid,
            code=final,
            explicit_code=explicit,
            depth=_checked_depth(steps),
        )

    @property
    def uuid(self) -> str:
        """The last link's id."""
        return self.tasks[-1].uuid

    def signatures(self) -> Iterator[Signature]:
        """All calls in it, nested ones included, in order."""
        return _leaves(self.tasks)

    def with_code(self, code: str) -> Chain:
        """The same chain under another code."""
        return self if self.code == code else _changed(self, tasks=_coded(self.tasks, code), code=code)

    def __or__(self, other: Link) -> Chain:
        return _joined(self, other)

    def __repr__(self) -> str:
        return f"<Chain {self.chain_uuid} of {len(self.tasks)}>"


@attrs.frozen(init=False, repr=False, slots=True)
class Chord:
    """A group, and what runs with its members' results when all have succeeded.

    Args:
        group: the group; also an iterable of links.
        callback: the link that follows; the results, in the order of the group, go behind its own arguments.
        code: what the whole can be cancelled by; the callback's id when left out.
        chain_uuid: id of the chord itself; a new one when left out.

    Raises:
        NoTasks: no members. InvalidSignature: one uuid twice, or something else than a link.
        InconsistentCode: different explicit codes.
    """

    group: Group
    callback: Link
    chain_uuid: str
    code: str
    explicit_code: str
    depth: int = attrs.field(eq=False)

    def __init__(
        self, group: Group | Iterable[Link], callback: Link, *, code: str = "", chain_uuid: str | None = None
    ) -> None:
        members = group if isinstance(group, Group) else Group(group)
        _check_link(callback, "Chord")
        links: tuple[Link, ...] = (members, callback)
        uuid = new_id() if chain_uuid is None else check_id(chain_uuid, "chord id", InvalidSignature)
        explicit = _explicit_code(code, links)
        _check_unique(links, [uuid])
        final = explicit or callback.uuid
        self.__attrs_init__(
            group=members.with_code(final),
            callback=callback.with_code(final),
            chain_uuid=uuid,
            code=final,
            explicit_code=explicit,
            depth=_checked_depth(links),
        )

    @property
    def uuid(self) -> str:
        """The callback's id."""
        return self.callback.uuid

    @property
    def group_uuid(self) -> str:
        """The group's id."""
        return self.group.group_uuid

    @property
    def tasks(self) -> tuple[Link, ...]:
        """The group and the callback."""
        return (self.group, self.callback)

    def signatures(self) -> Iterator[Signature]:
        """All calls in it, nested ones included, in order."""
        return _leaves(self.tasks)

    def with_code(self, code: str) -> Chord:
        """The same chord under another code."""
        if self.code == code:
            return self
        return _changed(self, group=self.group.with_code(code), callback=self.callback.with_code(code), code=code)

    def __or__(self, other: Link) -> Chain:
        return _joined(self, other)

    def __repr__(self) -> str:
        return f"<Chord {self.group_uuid} of {len(self.group.tasks)}, then {self.uuid}>"


Link = Signature | Group | Chord | Chain
_L = TypeVar("_L", Group, Chord, Chain)


def _changed(link: _L, **fields: Any) -> _L:
    """A copy with fields changed, unchecked."""
    copy = object.__new__(type(link))
    for field in attrs.fields(type(link)):
        object.__setattr__(copy, field.name, fields.get(field.name, getattr(link, field.name)))
    return copy


def _joined(first: Link, second: Link) -> Chain:
    """`first | second`: a chain takes up another chain's links one by one."""
    _check_link(second, "Chain")
    links: tuple[Link, ...] = first.tasks if isinstance(first, Chain) else (first,)
    more: tuple[Link, ...] = second.tasks if isinstance(second, Chain) else (second,)
    explicit = _explicit_code("", (first, second))
    if isinstance(first, Chain) and explicit == first.explicit_code and len(links) + len(more) <= MAX_LINKS:
        # Only what is new is looked at, or `a | b | c ...` would take the square of its length.
        chain_uuid = new_id()
        _check_unique(more, [chain_uuid, *_ids(links)])
        tasks = links + _coded(more, first.code)
        depth = max(first.depth, _checked_depth(more))
        return _changed(first, tasks=tasks, chain_uuid=chain_uuid, depth=depth)
    return Chain([_plainly_coded(link, first, second) for link in (*links, *more)], code=explicit)


def _plainly_coded(link: Link, *parents: Link) -> Link:
    """A link of a chain whose code was only derived gets its own back, so that it does not pass for explicit."""
    derived = [parent.code for parent in parents if isinstance(parent, Chain) and not parent.explicit_code]
    if isinstance(link, Signature) and link.code in derived:
        return link.with_code(link.uuid)
    return link


def join(first: Signature, second: Link) -> Chain:
    """`first | second` of a signature."""
    return _joined(first, second)


def _leaves(links: Iterable[Link]) -> Iterator[Signature]:
    for link in links:
        if isinstance(link, Signature):
            yield link
        else:
            yield from link.signatures()


def _checked_depth(links: Iterable[Link]) -> int:
    depth = 1 + max(_depth(link) for link in links)
    if depth > MAX_DEPTH:
        raise InvalidSignature(f"workflows nest at most {MAX_DEPTH} deep")
    return depth
