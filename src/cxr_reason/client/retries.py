"""When a request may be sent again."""

from __future__ import annotations

import random
import time

from cxr_reason.errors import CapacityError, CxrError, ServerUnavailableError

DEFAULT_MAX_RETRIES = 2

_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 8.0
# Nothing was done, or what was done is lost: asking again repeats nothing. A failure of the model
# would only come again, and a timeout has used up its time.
_PASSING = (CapacityError, ServerUnavailableError)


class Retries:
    """The attempts of one request.

    Args:
        max_retries: Most attempts after the first.
        timeout_s: Seconds for all of them.
    """

    def __init__(self, max_retries: int, timeout_s: float) -> None:
        self._num_left = max_retries
        self._delay_s = _FIRST_DELAY_S
        self._deadline_s = time.monotonic() + timeout_s

    @property
    def time_left_s(self) -> float:
        """Seconds until the request is given up."""
        return self._deadline_s - time.monotonic()

    def delay_after(self, error: CxrError, *, has_text: bool) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            error: What the last attempt ended with.
            has_text: It delivered text: the caller has it, and another run would repeat it.

        Raises:
            CxrError: `error`, if there is to be no next attempt.
        """
        # Callers refused at the same time must not all retry at the same time.
        delay_s = self._delay_s * random.uniform(0.5, 1.0)
        is_hopeless = has_text or not isinstance(error, _PASSING) or not self._num_left
        if is_hopeless or delay_s >= self.time_left_s:
            raise error
        self._num_left -= 1
        self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)
        return delay_s
