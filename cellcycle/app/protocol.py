"""Closes connections whose head comes too slowly, whose answer is not read, or that exceed the allowed number.

uvicorn would keep these open for as long as the client likes.
"""

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from cellcycle.app.limits import Limits


def protocol_of(limits: Limits) -> type[H11Protocol]:
    """Return the class of the connections of a server, for uvicorn's option `http`."""

    class Guarded(H11Protocol):
        _deadline = _unread = None
        _stopped = staticmethod(lambda timer: timer and timer.cancel())

        def connection_made(self, transport):
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
            self._watch_head()

        def data_received(self, data):
            super().data_received(data)
            self._watch_head()

        def connection_lost(self, exc):
            self._deadline = self._stopped(self._deadline)
            self._unread = self._stopped(self._unread)
            super().connection_lost(exc)

        def pause_writing(self):
            super().pause_writing()
            self._unread = self._unread or self.loop.call_later(limits.body_s, self.transport.abort)

        def resume_writing(self):
            self._unread = self._stopped(self._unread)
            super().resume_writing()

        def _watch_head(self):
            """Start or stop the timer of a head: it runs from the first byte to the last, not anew for each part."""
            if self.conn.their_state is not h11.IDLE:
                self._deadline = self._stopped(self._deadline)
            elif self._deadline is None:
                self._deadline = self.loop.call_later(limits.head_s, self._end_slow_head)

        def _end_slow_head(self):
            # uvicorn itself closes idle connections after an answer.
            is_answering = self.cycle is not None and not self.cycle.response_complete
            if not is_answering and self.timeout_keep_alive_task is None:
                self.transport.abort()
            self._deadline = None

    return Guarded
