"""A stream that bounds what a parser does with it.

pydicom takes up to 40 µs for an item of a sequence that has 8 bytes in the file, so that a file of
nothing but items would keep it busy for minutes.
"""

from __future__ import annotations

from io import BytesIO

from cxr_reason.errors import TooLargeError

# An element takes one to three reads, an item three more, encoded pixels one for each 8 KiB. Films
# need a few thousand.
MOST_READS = 100_000


class ReadBudget:
    """How many reads are left to all streams over parts of one file.

    Args:
        reads: How many there are.
    """

    def __init__(self, reads: int = MOST_READS) -> None:
        self.reads_left = reads

    def take(self) -> None:
        """Take one.

        Raises:
            TooLargeError: None is left.
        """
        self.reads_left -= 1
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

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `BytesIO` does.

        Raises:
            TooLargeError: The budget is spent.
        """
        self._budget.take()
        return super().read(size)
