"""Signatures that cannot be forged: an HMAC of a call under a key that senders and workers share.

What is signed is what would run: name, arguments, options, id, callbacks, place in its workflow. The mark travels as a
header of the message, so a reader without keys is not disturbed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

import attrs

from vecna.domain.errors import InvalidSignature
from vecna.domain.plan import Plan, Step
from vecna.domain.signature import Signature

#: The header with the mark.
HEADER: Final = "vecna-signature"
#: The last key in the content of a schedule.
SEAL: Final = "Seal"
_NONE: Final = "none"
_BEFORE_SEAL: Final = f',"{SEAL}":"'.encode()
Keys = Sequence[str]


def _mark(key: str, purpose: str, content: bytes) -> str:
    return hmac.new(key.encode(), purpose.encode() + b"\0" + content, hashlib.sha256).hexdigest()


def _is_mark(found: object, keys: Keys, purpose: str, content: bytes) -> bool:
    if not isinstance(found, str) or not found.isascii():
        return False
    # Each of them, and in the same time whichever it is.
    found_by = [hmac.compare_digest(found, _mark(key, purpose, content)) for key in keys]
    return True in found_by


def bare(signature: Signature[Any]) -> Signature[Any]:
    """The call without its mark."""
    if HEADER not in signature.headers:
        return signature
    return signature.replace(headers={name: value for name, value in signature.headers.items() if name != HEADER})


def _marked(signature: Signature[Any], mark: str) -> Signature[Any]:
    return signature.replace(headers={**signature.headers, HEADER: mark})


def sign(signature: Signature[Any], keys: Keys) -> Signature[Any]:
    """The call with a mark under the first key; what carries one already stays as it is, be it right or wrong."""
    if not keys or HEADER in signature.headers:
        return signature
    return _marked(signature, _mark(keys[0], "task", signature.to_json()))


def verified(signature: Signature[Any], keys: Keys) -> Signature[Any]:
    """The call without its mark, which is right under one of the keys.

    Raises:
        InvalidSignature: it has none, or a wrong one.
    """
    if not keys:
        return signature
    mark = signature.headers.get(HEADER, _NONE)
    plain = bare(signature)
    if _is_mark(mark, keys, "task", plain.to_json()):
        return plain
    how = "is not signed" if mark == _NONE else "is not signed by any of signing_keys, or was changed since"
    raise InvalidSignature(
        f"the message of task {signature.uuid} {how}: give its sender one of the keys that this worker knows "
        "(docs/reliability.md)"
    )


def distrusted(signature: Signature[Any]) -> Signature[Any]:
    """The call so that it is refused wherever it comes to, and causes nothing."""
    mark = signature.headers.get(HEADER, _NONE)
    return _marked(signature.evolve(on_success=(), on_error=()), mark if isinstance(mark, str) else _NONE)


def sign_plan(plan: Plan, keys: Keys) -> Plan:
    """The plan with all calls of its later steps signed; the first ones are signed as messages."""
    if not keys:
        return plan
    steps = [attrs.evolve(step, first=tuple([sign(each, keys) for each in step.first])) for step in plan.steps]
    return attrs.evolve(plan, steps=tuple(steps))


def verified_step(step: Step, keys: Keys) -> Step:
    """The step with the marks of its calls taken off; one whose mark is wrong keeps it, and is refused later."""
    if not keys:
        return step
    return attrs.evolve(step, first=tuple([_verified_or_distrusted(each, keys) for each in step.first]))


def _verified_or_distrusted(signature: Signature[Any], keys: Keys) -> Signature[Any]:
    try:
        return verified(signature, keys)
    except InvalidSignature:
        return distrusted(signature)


def seal(content: bytes, code: str, keys: Keys) -> bytes:
    """The content of a schedule, a JSON object, with a mark in it that holds for this code only."""
    if not keys:
        return content
    return content[:-1] + _BEFORE_SEAL + _mark(keys[0], f"schedule {code}", content).encode() + b'"}'


def is_sealed(content: bytes, code: str, keys: Keys) -> bool:
    """Whether the content of a schedule has its mark; without keys none is asked for."""
    if not keys:
        return True
    before, found, mark = content.rpartition(_BEFORE_SEAL)
    return bool(found) and _is_mark(mark[:-2].decode(errors="replace"), keys, f"schedule {code}", before + b"}")
