"""Sources to inputs: one stream of :class:`ImageRef`, sorted by (root, path), without duplicates."""

from __future__ import annotations

import heapq
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from fvcli.locations import cut_query, is_remote
from fvcli.records import ImageRef
from fvcli.sources.archive import split
from fvcli.sources.candidates import Filter, Names, PassedOver, decoded, is_utf8, readable
from fvcli.sources.named import ListedName, bytes_of, named, path_of, read_listing, told_apart
from fvcli.sources.read import storage_of
from fvcli.sources.roots import KnownRoots, Roots, resolve
from fvcli.sources.walk import Search, walk

T = TypeVar("T")

_TELL_EVERY = 1000
_GROUP = 256  # items that pass together
_GROUPS = 8  # that wait to be taken
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Sources:
    """The sources that the user named.

    paths: folders, files and globs.
    files_from: a file that lists files, one per line (NUL-separated with ``null_separated``); "-" is stdin.
    include, exclude: globs, see :class:`fvcli.sources.candidates.Filter`.
    follow_symlinks: enter folders that are symbolic links (to files they are always followed).
    limit: of all inputs only the first so many; None for all.
    """

    paths: tuple[str, ...] = ()
    files_from: str | None = None
    null_separated: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    limit: int | None = None


class Discovery:
    """A search for the inputs that sources name. Iterating over it, once, gives them.

    passed_over: counts what is left aside; complete once the stream has ended.
    known: the roots of the dataset that the inputs are for.
    """

    def __init__(
        self, sources: Sources, passed_over: PassedOver | None = None, known: KnownRoots | None = None
    ) -> None:
        """Raises UsageError for a source that does not exist, a glob without a match or a list that cannot be read."""
        self.passed_over = PassedOver() if passed_over is None else passed_over
        self._known = known or KnownRoots()
        base_folder = self._known.base_folder if known else ""
        wanted = Filter(sources.include, sources.exclude)
        self._search = Search(wanted, sources.follow_symlinks, self.passed_over, base_folder)
        self._roots = Roots(wanted, self._known)
        self._files: set[bytes] = set()
        for source in sources.paths:
            resolve(source, self._roots, self._files, self.passed_over)
        self._listing: Iterable[ListedName] = ()
        if sources.files_from is not None:
            self._listing = read_listing(sources.files_from, sources.null_separated)
        self._scopes = frozenset((root.name, root.below) for root in self._roots)
        self._adopted: dict[str, Names] = {}  # of roots that are not walked, the files that a list names
        self._lists = bool(self._files) or sources.files_from is not None
        self._limit = sources.limit
        self._last: tuple[str, str] | None = None  # the key of the input at which a limit ended the search
        self._reached: set[str] = set()  # by then, the roots that gave an input

    def __iter__(self) -> Iterator[ImageRef]:
        if self._limit is None:
            yield from self._all()
            return
        for number, ref in enumerate(self._all(), start=1):
            self._reached.add(ref.root)
            yield ref
            if number == self._limit:
                self._last = (ref.root, ref.path)
                return

    def _all(self) -> Iterator[ImageRef]:
        streams: list[Iterable[ImageRef]] = [named(self._listed(), self._search)] if self._lists else []
        folders = list(self._roots)
        streams += [
            (_below_unreadable_root(root.name, ref) for ref in walk(root, storage_of(root.source), self._search))
            for root in folders
            if not is_utf8(root.name)
        ]
        before = ImageRef("", "")
        for ref in heapq.merge(*streams, key=lambda ref: ref.path):
            if (ref.path, ref.location) != (before.path, before.location):
                yield told_apart(ref) if ref.path == before.path else ref
            before = ref
        walked = {name: list(roots) for name, roots in itertools.groupby(folders, key=lambda root: root.name)}
        for name in sorted({*walked, *self._adopted}):
            roots = walked.get(name, []) if is_utf8(name) else []
            streams = [walk(root, storage_of(root.source), self._search) for root in roots]
            if name in self._adopted:
                streams.append(self._named_in(name))
            yield from heapq.merge(*streams, key=lambda ref: ref.path)

    def _listed(self) -> Iterable[ListedName]:
        """The files named one by one that no root holds, ascending, as the dataset calls them."""
        if not self._known.is_elsewhere:
            return self._without_root()
        names = Names()
        for name in self._without_root():
            names.add(self._known.spelled(os.fsdecode(bytes_of(name))))
        return (decoded(os.fsencode(name)) for name in names)

    def _without_root(self) -> Iterator[ListedName]:
        """The files named one by one that no root holds. Those in a known root are noted, the others walked anyway."""
        singles = sorted(decoded(name) for name in self._files)
        for name in heapq.merge(singles, self._listing, key=path_of):
            if self._roots.holds(bytes_of(name)):
                continue
            adopter = self._known.adopter(os.fsdecode(bytes_of(name)))
            if adopter is not None and self._search.wanted.takes(name[0]):
                self._adopted.setdefault(adopter[0], Names()).add(adopter[1])
            else:
                yield name

    def _named_in(self, root: str) -> Iterator[ImageRef]:
        """The files of a known root that are named one by one, as its inputs."""
        prefix = self._known.place_of(root)
        names = (decoded(os.fsencode(prefix + name)) for name in self._adopted[root])
        skip, skip_bytes = len(prefix), len(os.fsencode(prefix))
        for ref in named(names, replace(self._search, wanted=Filter())):
            raw = None if ref.path_bytes is None else ref.path_bytes[skip_bytes:]
            yield replace(ref, root=root, path=ref.path[skip:], path_bytes=raw)

    @property
    def roots(self) -> list[str]:
        """The roots that are searched; "" stands for files named one by one. Complete once the stream has ended."""
        names = {name for name, _ in self._scopes}.union(self._adopted)
        if self._last is not None:
            return sorted(self._reached)
        return [*([""] if self._lists and not self._adopted else []), *sorted(names)]

    def looked_for(self, row: ImageRef) -> bool:
        """Whether the file of a row that the search did not find is gone, and not only out of its sight.

        A file that is still there is not gone: a filter hides it, or a link that is not followed. Files that were named
        one by one count as looked for where this search has such names, too.
        """
        if self._last is not None and (row.root, row.path) > self._last:
            return False
        row = replace(row, base_folder=self._search.base_folder)
        remote = is_remote(row.root or row.path)
        wanted = self._search.wanted
        for archive, _ in split(row):
            if not remote and _is_gone(archive):
                continue
            named = archive in self._search.archives
            walked = self._in_scope(archive) and self._roots.enters(archive.path) and wanted.enters(archive.path)
            return (named or walked) and wanted.takes(row.path, len(cut_query(archive.path)[0]) + 1)
        if row.root == "":
            return self._lists and not remote and _is_gone(row)
        reached = self._in_scope(row) and self._roots.enters(row.path) and wanted.takes(row.path)
        return reached and (remote or _is_gone(row))

    def renamed(self, row: ImageRef) -> bool:
        """Whether the search finds the file of a row under another root, because that was not named before.

        Files in buckets are not asked for one by one, so they are never renamed.
        """
        if self._limit is not None or self._in_scope(row) or is_remote(row.root or row.path):
            return False
        row = replace(row, base_folder=self._search.base_folder)
        outermost = next((archive for archive, _ in split(row)), row)
        return self._roots.holds(outermost.location) and not _is_gone(outermost)

    def _in_scope(self, ref: ImageRef) -> bool:
        return any(root == ref.root and ref.path.startswith(below) for root, below in self._scopes)


def _is_gone(ref: ImageRef) -> bool:
    """Whether nothing has the name of a local file; not where a folder on the way refuses to tell."""
    try:
        os.lstat(ref.location)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False
    return False


def discover(sources: Sources, passed_over: PassedOver | None = None) -> Iterator[ImageRef]:
    """Every input that ``sources`` name, strictly ascending by (root, path) as strings.

    passed_over: counts what is left aside; complete once the stream has ended.

    An archive, named or found in a folder, stands for the images in it ("a.tar!cat.jpg"). In a folder the inputs
    are the regular files with an image's extension, and those without any extension that start as
    an image does; hidden ones too, but not the "._name" companions that macOS leaves. Pipes, sockets and devices are
    passed over without being opened. What carries an image's name but leads nowhere (a dangling link), and folders
    that cannot be listed (their path ends in "/"), are inputs with size -1: reading them fails and says why. Files
    named one by one are inputs whatever they are. Names that are not UTF-8 get a readable stand-in as path; the rare
    one that would equal another file's name gets a backslash (in a list a NUL) at its end.

    Raises UsageError, before the first item, for a source that does not exist, a glob without a match or a list that
    cannot be read; while iterating, for a source folder that cannot be listed.
    """
    return iter(Discovery(sources, passed_over))


def _below_unreadable_root(root: str, ref: ImageRef) -> ImageRef:
    location = os.path.join(os.fsencode(root), os.fsencode(ref.path) if ref.path_bytes is None else ref.path_bytes)
    return ImageRef("", readable(root).rstrip("/") + "/" + ref.path, location, ref.size_bytes, ref.mtime_ns, ref.offset)


class BackgroundDiscovery:
    """A :class:`Discovery` in a thread of its own: a place that does not answer must not hide a signal."""

    def __init__(
        self,
        sources: Sources,
        passed_over: PassedOver,
        known: KnownRoots,
        found: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        """found: called with the number of inputs now and then. check: called meanwhile, may raise to end the wait."""
        self._sources = sources
        self._passed_over = passed_over
        self._known = known
        self._found = found
        self._check = check
        self._discovery: Discovery | None = None

    def __iter__(self) -> Iterator[ImageRef]:
        for number, ref in enumerate(in_background(self._begin, self._check)):
            if number % _TELL_EVERY == 0:
                self._found(number)
                self._check()
            yield ref

    def _begin(self) -> Iterator[ImageRef]:
        self._discovery = Discovery(self._sources, self._passed_over, self._known)
        return iter(self._discovery)

    @property
    def roots(self) -> list[str]:
        return self._begun.roots

    def looked_for(self, row: ImageRef) -> bool:
        return self._begun.looked_for(row)

    def renamed(self, row: ImageRef) -> bool:
        return self._begun.renamed(row)

    @property
    def _begun(self) -> Discovery:
        """The discovery, which is there as soon as the first input is, or none is left."""
        assert self._discovery is not None
        return self._discovery


def in_background(items: Callable[[], Iterator[T]], check: Callable[[], None]) -> Iterator[T]:
    """The items of ``items()``, in order, made ahead by a thread.

    check: called about every tenth of a second while nothing comes; what it raises ends the wait at once, also where
        the thread hangs in a system call (a dead network mount, a pipe without a writer, a store that does not answer).
    Raises what ``items`` raises.
    """
    passed: queue.Queue[list[T] | BaseException | None] = queue.Queue(_GROUPS)
    left = threading.Event()

    def put(item: list[T] | BaseException | None) -> None:
        while not left.is_set():
            try:
                passed.put(item, timeout=_POLL_SECONDS)
                return
            except queue.Full:
                continue

    def run() -> None:
        group: list[T] = []
        try:
            for item in items():
                group.append(item)
                if len(group) == _GROUP:
                    put(group)
                    group = []
                if left.is_set():
                    return
            put(group)
            put(None)
        except BaseException as error:
            put(group)
            put(error)

    # A daemon, because nothing can wake it out of a system call.
    threading.Thread(target=run, name="search", daemon=True).start()
    try:
        while True:
            try:
                taken = passed.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                check()
                continue
            if taken is None:
                return
            if isinstance(taken, BaseException):
                raise taken
            yield from taken
    finally:
        left.set()
