"""Parquet tables with images in a column, as datasets on the Hugging Face Hub have them: each row is a member.

The images are in a binary column, or in a struct of ``bytes`` and ``path``. A row is called by its path where every
row has one of its own, else by its number, from 0. Parquet cannot be read row by row: a row group is copied to a
temporary file when the first of its rows is wanted.
"""

from __future__ import annotations

import os
import tempfile
import threading
from array import array
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fvcli.errors import ImageError
from fvcli.sources.formats import SNIFF_BYTES, sniff
from fvcli.sources.member import DamagedArchiveError, Member, NoImagesError, changed
from fvcli.sources.storage import OpenFile, SeekableFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Columns of text that may say what a row's image is called, the first that fits.
_PATH_COLUMNS = ("path", "file_name", "filename", "image_path", "file", "name", "key", "__key__")
_LOOKED_AT = 16  # rows of a column that tell whether it holds images
_TOGETHER = 4  # rows in memory at once; an image may have 100 MB
#: Rows of one table. A few bytes can announce any number of them.
_MOST_ROWS = 1_000_000
#: Bytes that the images of a table may take in a temporary file, for each byte of the table, and at least.
_MOST_GROWTH, _LEAST_LIMIT = 20, 1 << 30
_BUFFER_BYTES = 1 << 20
_MOST_SPOOLS = 2
_LARGEST_PAGE = 1 << 31  # bytes; some writers put all rows of a group into one page


class TableArchive:
    """Implements :class:`fvcli.sources.member.Archive`. A member's offset is its row's number."""

    only_images = True

    def __init__(self, file: OpenFile) -> None:
        self._file = file

    def members(self) -> Iterator[Member]:
        try:
            table = _Table.of(self._file)
            names = table.names() if table.rows <= _MOST_ROWS else None
        except (OSError, ImageError, NoImagesError):
            raise
        except Exception:  # pyarrow raises what its parser happens to raise
            raise DamagedArchiveError(0) from None
        if table.rows > _MOST_ROWS:
            raise DamagedArchiveError(0)
        for row in range(table.rows):
            yield Member(str(row).encode() if names is None else names[row].encode(), row, -1)

    def start(self, member: Member, length: int) -> bytes:
        return self.read(member)[:length]

    def read(self, member: Member) -> bytes:
        try:
            return _spool_of(self._file).read(self._file, member.offset)
        except (OSError, ImageError):
            raise
        except NoImagesError:
            raise changed() from None
        except Exception:
            raise ImageError("read", "DamagedArchive", "the table is damaged at this row") from None


@dataclass(frozen=True, slots=True)
class _Table:
    """An open table and the column of its images. column: as Parquet calls it; inner: a struct's field in it."""

    parquet: pq.ParquetFile
    column: str
    inner: str | None

    @classmethod
    def of(cls, file: OpenFile) -> _Table:
        """Raises NoImagesError where no column holds images."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parquet = pq.ParquetFile(
            pa.PythonFile(SeekableFile(file, _LARGEST_PAGE), "r"), pre_buffer=False, buffer_size=_BUFFER_BYTES
        )
        for field in parquet.schema_arrow:
            if _is_binary(field.type):
                table = cls(parquet, field.name, None)
            elif pa.types.is_struct(field.type) and any(
                inner.name == "bytes" and _is_binary(inner.type) for inner in field.type
            ):
                table = cls(parquet, field.name, "bytes")
            else:
                continue
            if table._holds_images():
                return table
        raise NoImagesError

    @property
    def rows(self) -> int:
        return int(self.parquet.metadata.num_rows)

    def images(self, group: int | None = None, together: int = _TOGETHER) -> Iterator[pa.Array]:
        """The column's values, null or bytes, of one row group or of all, some rows at a time."""
        import pyarrow.compute as pc

        groups = None if group is None else [group]
        name = self.column if self.inner is None else f"{self.column}.{self.inner}"
        for batch in self.parquet.iter_batches(together, groups, [name], use_threads=False):
            column = batch.column(0)
            yield column if self.inner is None else pc.struct_field(column, self.inner)

    def names(self) -> list[str] | None:
        """A name for each row; None where no column has one for all of them."""
        import pyarrow as pa

        schema = self.parquet.schema_arrow
        inner = schema.field(self.column).type if self.inner else ()
        candidates = [f"{self.column}.{field.name}" for field in inner if field.name == "path"]
        texts = {
            field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        }
        candidates += [name for name in _PATH_COLUMNS if name in texts]
        for candidate in candidates:
            values = _flat(self.parquet.read([candidate], use_threads=False).column(0))
            if all(values) and len(set(values)) == len(values):
                return values
        return None

    def _holds_images(self) -> bool:
        values = next(self.images(together=_LOOKED_AT), None)
        return values is not None and any(
            sniff(value[:SNIFF_BYTES]) is not None for value in values.to_pylist() if value is not None
        )


def _is_binary(type: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type) or pa.types.is_binary_view(type))


def _flat(column: pa.ChunkedArray) -> list[str]:
    """The values of a column of text, or of a struct with that one field."""
    return [value["path"] if isinstance(value, dict) else value for value in column.to_pylist()]


class _Spool:
    """The images of one table in a temporary file that has no name, copied row group by row group. Serves threads."""

    def __init__(self) -> None:
        """Raises ImageError where there is no room for temporary files."""
        self._lock = threading.Lock()
        with _room_needed():
            self._file = tempfile.TemporaryFile(prefix="fvcli-table-", buffering=0)
        self._end = 0
        self._starts: list[int] | None = None  # first row of each row group, and the number of rows
        self._places: dict[int, array[int]] = {}  # of each row group that is there: where its rows begin and end

    def read(self, file: OpenFile, row: int) -> bytes:
        """The bytes of one row's image, empty where it has none. Raises ImageError where there is no such row."""
        with self._lock:
            if self._starts is None:
                self._starts = _group_starts(_Table.of(file).parquet)
            group = sum(start <= row for start in self._starts) - 1
            if not 0 <= group < len(self._starts) - 1:
                raise changed()
            if group not in self._places:
                self._places[group] = self._copy(file, group)
            places = self._places[group]
        index = row - self._starts[group]
        return os.pread(self._file.fileno(), places[index + 1] - places[index], places[index])

    def _copy(self, file: OpenFile, group: int) -> array[int]:
        places = array("q", [self._end])
        for values in _Table.of(file).images(group):
            for value in values:
                data = memoryview(value.as_buffer() if value.is_valid else b"")
                places.append(places[-1] + len(data))
                if places[-1] > max(_LEAST_LIMIT, _MOST_GROWTH * file.size):
                    raise ImageError("read", "TooLarge", "the table unpacks to far more than it has")
                with _room_needed():
                    while data:
                        data = data[os.pwrite(self._file.fileno(), data, places[-1] - len(data)) :]
        self._end = places[-1]
        return places


@contextmanager
def _room_needed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"no room to unpack the table in temporary files (see TMPDIR): {error.strerror or error}"
        raise ImageError("read", "IOError", text) from None


def _group_starts(parquet: pq.ParquetFile) -> list[int]:
    starts = [0]
    for group in range(parquet.num_row_groups):
        starts.append(starts[-1] + parquet.metadata.row_group(group).num_rows)
    return starts


_spools: dict[Hashable, _Spool] = {}
_spools_lock = threading.Lock()


def _spool_of(file: OpenFile) -> _Spool:
    with _spools_lock:
        spool = _spools.pop(file.identity, None) or _Spool()
        _spools[file.identity] = spool
        while len(_spools) > _MOST_SPOOLS:
            _spools.pop(next(iter(_spools)))
    return spool
