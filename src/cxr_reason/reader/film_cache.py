"""Encoded films by the digest of their file: a film asked about again is not encoded again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from cxr_reason.engine.base import VisualInput
from cxr_reason.film.info import FilmInfo

# In MiB. A film of 476 x 476 pixels takes 2.3 at 2,048 hidden units.
DEFAULT_FILM_CACHE_MIB = 256


@dataclass(frozen=True)
class EncodedFilm:
    """A film as the decoder sees it, with what is known of it.

    Attributes:
        visual: Visual tokens and their grid.
        info: The film's record.
    """

    visual: VisualInput
    info: FilmInfo


class FilmCache:
    """Least recently used films, bounded by bytes. Thread-safe.

    Args:
        capacity_bytes: Memory for visual tokens; 0 keeps nothing.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._size_bytes = 0
        self._films: OrderedDict[str, EncodedFilm] = OrderedDict()
        self._pending: dict[str, Future[EncodedFilm]] = {}
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Bytes of visual tokens held."""
        return self._size_bytes

    def get(self, digest: str) -> EncodedFilm | None:
        """Return the film with this digest, now the most recently used, or None."""
        with self._lock:
            return self._get(digest)

    def get_or_encode(self, digest: str, encode: Callable[[], EncodedFilm]) -> EncodedFilm:
        """Return the film with this digest, encoding it if needed.

        Callers that ask for the same film at the same time share one encoding, and its error.

        Args:
            digest: SHA-256 of the film's file, hexadecimal.
            encode: Called without a lock held, by one of the callers.
        """
        with self._lock:
            if (film := self._get(digest)) is not None:
                return film
            pending = self._pending.get(digest)
            is_mine = pending is None
            if pending is None:
                pending = self._pending[digest] = Future()
        if is_mine:
            self._encode(digest, encode, pending)
        return pending.result()

    def _encode(
        self, digest: str, encode: Callable[[], EncodedFilm], pending: Future[EncodedFilm]
    ) -> None:
        try:
            film = encode()
        except BaseException as error:
            with self._lock:
                del self._pending[digest]
            pending.set_exception(error)
            return
        with self._lock:
            self._put(digest, film)
            del self._pending[digest]
        pending.set_result(film)

    def _get(self, digest: str) -> EncodedFilm | None:
        film = self._films.get(digest)
        if film is not None:
            self._films.move_to_end(digest)
        return film

    def _put(self, digest: str, film: EncodedFilm) -> None:
        if film.visual.tokens.nbytes > self._capacity_bytes:
            return
        self._films[digest] = film
        self._size_bytes += film.visual.tokens.nbytes
        while self._size_bytes > self._capacity_bytes:
            _, oldest = self._films.popitem(last=False)
            self._size_bytes -= oldest.visual.tokens.nbytes
