"""Group, Chord and Chain: how calls are put together. Immutable; what is passed in is never changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import attrs

from vecna.domain.errors import InconsistentCode, InvalidSignature, NoTasks
from vecna.domain.ids import check_id, new_id
from vecna.domain.signature import Signature
from vecna.domain.values import MAX_DEPTH

#: Links of one chain.
MAX_LINKS: Final = 10_000


def _links(values: tuple[Any, ...], what: str) -> tuple[Link, ...]:
    """The links given one by one, or as one iterable."""
    if len(values) == 1 and not isinstance(values[0], Signature | Group | Chord | Chain):
        if not isinstance(values[0], Iterable) or isinstance(values[0], str | bytes | dict):
            raise InvalidSignature(f"{what} takes signatures, groups, chords and chains, not {_kind(values[0])}")
        values = tuple(values[0])
    for value in values:
        if not isinstance(value, Signature | Group | Chord | Chain):
            raise InvalidSignature(f"{what} takes signatures, groups, chords and chains, not {_kind(value)}")
    if not values:
        raise NoTasks(f"a {what} of no tasks: give it at least one signature")
    return values


def _kind(value: object) -> str:
    return type(value).__name__


def _explicit_codes(links: Iterable[Link]) -> Iterator[str]:
    for link in links:
        if isinstance(link, Signature):
            if link.code != link.uuid:
                yield link.code
        elif link.explicit_code:
            yield link.explicit_code


def _explicit_code(code: str, links: Iterable[Link]) -> str:
    codes = set(_explicit_codes(links))
    if code:
        codes.add(check_id(code, "code", InvalidSignature))
    if len(codes) > 1:
        raise InconsistentCode(f"one workflow has one code, but these were given: {', '.join(sorted(codes))}")
    return codes.pop() if codes else ""


def _check_unique(links: Iterable[Link]) -> None:
    seen: set[str] = set()
    for link in links:
        for signature in (link,) if isinstance(link, Signature) else link.signatures():
            if signature.uuid in seen:
                raise InvalidSignature(f"task {signature.uuid} stands twice in one workflow: use signature.clone()")
            seen.add(signature.uuid)


def _depth(link: Link) -> int:
    return 0 if isinstance(link, Signature) else link.depth


def share_code(signature: Signature, code: str) -> Signature:
    """The signature under `code`, so that one cancel reaches all that it causes.

    With it go its callbacks, unless they were given a code of their own.
    """
    changes: dict[str, Any] = {}
    if signature.code != code:
        changes["code"] = code
    for name in ("on_success", "on_error"):
        callbacks = getattr(signature, name)
        if callbacks:
            changes[name] = tuple(
                [
                    share_code(callback, code) if callback.code in (callback.uuid, signature.code) else callback
                    for callback in callbacks
                ]
            )
    return signature.evolve(**changes) if changes else signature


def _coded(link: Link, code: str) -> Link:
    return share_code(link, code) if isinstance(link, Signature) else link.with_code(code)


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
        members = _links(links, "Group")
        uuid = new_id() if group_uuid is None else check_id(group_uuid, "group id", InvalidSignature)
        explicit = _explicit_code(code, members)
        _check_unique(members)
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
        return share_code(link, code).evolve(group_uuid=uuid, group_task_count=count)

    @property
    def uuid(self) -> str:
        """The group's id."""
        return self.group_uuid

    def signatures(self) -> Iterator[Signature]:
        """All calls in it, nested ones included, in order."""
        return _leaves(self.tasks)

    def with_code(self, code: str) -> Group:
        """The same group under another code."""
        return _changed(self, tasks=tuple([_coded(link, code) for link in self.tasks]), code=code)

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
        steps = _links(links, "Chain")
        if len(steps) > MAX_LINKS:
            raise InvalidSignature(f"a chain of {len(steps)} links is too long: at most {MAX_LINKS}")
        explicit = _explicit_code(code, steps)
        _check_unique(steps)
        final = explicit or next(_leaves(steps)).uuid
        self.__attrs_init__(
            tasks=tuple([_coded(link, final) for link in steps]),
            chain_uuid=new_id() if chain_uuid is None else check_id(chain_uuid, "chain id", InvalidSignature),
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
        return _changed(self, tasks=tuple([_coded(link, code) for link in self.tasks]), code=code)

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
        (callback,) = _links((callback,), "Chord")
        links: tuple[Link, ...] = (members, callback)
        explicit = _explicit_code(code, links)
        _check_unique(links)
        final = explicit or callback.uuid
        self.__attrs_init__(
            group=members.with_code(final),
            callback=_coded(callback, final),
            chain_uuid=new_id() if chain_uuid is None else check_id(chain_uuid, "chord id", InvalidSignature),
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
        return _changed(self, group=self.group.with_code(code), callback=_coded(self.callback, code), code=code)

    def __or__(self, other: Link) -> Chain:
        return _joined(self, other)

    def __repr__(self) -> str:
        return f"<Chord {self.group_uuid} of {len(self.group.tasks)}, then {self.uuid}>"


Link = Signature | Group | Chord | Chain
_L = TypeVar("_L", Group, Chord, Chain)


def _changed(link: _L, **fields: Any) -> _L:
    if link.code == fields["code"]:
        return link
    copy = object.__new__(type(link))
    for field in attrs.fields(type(link)):
        object.__setattr__(copy, field.name, fields.get(field.name, getattr(link, field.name)))
    return copy


def _joined(first: Link, second: Link) -> Chain:
    """`first | second`: a chain takes up another chain's links one by one."""
    links = [*(first.tasks if isinstance(first, Chain) else (first,))]
    links += second.tasks if isinstance(second, Chain) else (second,)
    code = next((link.explicit_code for link in (first, second) if isinstance(link, Chain) and link.explicit_code), "")
    return Chain([_plainly_coded(link, first, second) for link in links], code=code)


def _plainly_coded(link: Link, *parents: Link) -> Link:
    """A link of a chain whose code was only derived gets its own back, so that it does not pass for explicit."""
    derived = [parent.code for parent in parents if isinstance(parent, Chain) and not parent.explicit_code]
    if isinstance(link, Signature) and link.code in derived:
        return share_code(link, link.uuid)
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
