"""A stream that bounds what a parser does with it.

pydicom takes up to 40 µs for an item of a sequence that has 8 bytes in the file, so that a file of
nothing but items would keep it busy for minutes.
"""

from __future__ import annotations

from io import BytesIO

from cxr_reason.errors import TooLargeError

# An element takes one to three reads, an item three more, a fragment of pixel data two. Films need
# a few thousand.
MOST_READS = 100_000
_CHARSET_TAGS = (b"\x08\x00\x05\x00", b"\x00\x08\x00\x05")  # (0008,0005) in both byte orders


class ReadBudget:
    """How many reads are left to all streams over parts of one file.

    Args:
        reads: How many there are.
    """

    def __init__(self, reads: int = MOST_READS) -> None:
        self.reads_left = reads

    def take(self, reads: int = 1) -> None:
        """Take one or more.

        Raises:
            TooLargeError: None is left.
        """
        self.reads_left -= reads
        self.check()

    def check(self) -> None:
        """Raise where the budget is spent: pydicom turns some errors into others.

        Raises:
            TooLargeError: It is spent.
        """
        if self.reads_left < 0:
            raise TooLargeError(
                "DICOM: the header has far more elements and items than a film's; send the film "
                "without private sequences"
            )


class CountedBytes(BytesIO):
    """Bytes that are read at the expense of a budget."""

    def __init__(self, data: bytes, budget: ReadBudget) -> None:
        super().__init__(data)
        self._budget = budget
        self._near_charset = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `BytesIO` does.

        Raises:
            TooLargeError: The budget is spent.
        """
        self._budget.take()
        data = super().read(size)
        if self._near_charset:
            # pydicom looks up, and warns of, each of the names in it: it costs by its bytes.
            self._near_charset -= 1
            self._budget.take(len(data))
        if size == 8 and data[:4] in _CHARSET_TAGS:
            self._near_charset = 2  # its value, before which a long length may be read
        return data
