"""The laws of backend and lock, on the parts of the kit over the simplest store of documents: a dict."""

import copy
import itertools
import threading
from contextlib import contextmanager

import pytest

from vecna.kit import Document, DocumentBackend, DocumentLock, Documents, DocumentStore
from vecna.testing import BackendContract, LockContract


class DictDocuments(Documents):
    def __init__(self, kept):
        self.kept = kept

    def get(self, kind, key):
        return self.kept.get((kind, key))

    def put(self, kind, key, value=b"", at=None):
        self.kept[kind, key] = Document(key, value, at)

    def drop(self, kind, key):
        return self.kept.pop((kind, key), None) is not None

    def scan(self, kind, above, upto, limit):
        found = [each for (of, _), each in self.kept.items() if of == kind and each.at is not None]
        found = [each for each in found if above < each.at <= upto]
        return sorted(found, key=lambda each: (each.at, each.key))[:limit]

    def under(self, kind, prefix):
        found = [each for (of, key), each in self.kept.items() if of == kind and key.startswith(prefix)]
        return sorted(found, key=lambda each: each.key)


class DictStore(DocumentStore):
    def __init__(self):
        self.lock, self.kept, self.versions = threading.Lock(), {}, itertools.count(1)
        self.now = 0

    @contextmanager
    def step(self, *, reading=False):
        with self.lock:
            before = copy.copy(self.kept)
            try:
                yield DictDocuments(self.kept)
            except BaseException:
                self.kept = before
                raise
            self.now = self.now if reading else next(self.versions)

    def version(self):
        return self.now

    def another(self):
        return self

    def close(self):
        pass


class OnDict:
    @pytest.fixture(autouse=True)
    def store(self):
        self.documents = DictStore()


class TestDictBackend(OnDict, BackendContract):
    def make(self, clock):
        return DocumentBackend(self.documents, clock)


class TestDictLock(OnDict, LockContract):
    def make(self, clock):
        return DocumentLock(self.documents, clock)
