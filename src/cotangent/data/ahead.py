"""Reading ahead: a thread fetches the next items while the caller works on this one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from ..checks import whole

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The same items in the same order, made by a thread that is up to `depth` items ahead.

    The thread begins with the first item that is asked for. An exception in it is raised
    here, after the items before it. It ends when the items do, or when the iterator is closed
    or forgotten, as a ``for`` loop does that is left by an exception or by Ctrl-C.

    Args:
        items: what to read; only the thread touches its iterator.
        depth: 1 or more; how many items wait at most.

    Raises:
        ArgumentError: if `depth` is not positive.

    >>> list(read_ahead(range(3)))
    [0, 1, 2]
    """
    whole("read_ahead", "depth", depth, 1)
    return _items(_Ahead(items, int(depth)))


def _items(ahead: _Ahead[Item]) -> Iterator[Item]:
    thread = threading.Thread(target=ahead.work, name="cotangent-reader", daemon=True)
    thread.start()
    try:
        while True:
            item = ahead.next()
            if item is _END:
                break
            yield item
    finally:
        ahead.close()
        thread.join()
    if ahead.error is not None:
        raise ahead.error


_END: Any = object()


class _Ahead(Generic[Item]):
    """A bounded queue between the two threads, that either can end."""

    def __init__(self, items: Iterable[Item], depth: int) -> None:
        self.items = items
        self.depth = depth
        self.waiting: deque[Item] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.ended = False
        self.error: BaseException | None = None

    def work(self) -> None:
        """What the thread does."""
        items: Any = None
        try:
            items = iter(self.items)
            for item in items:
                if not self.put(item):
                    break
        except BaseException as error:
            self.error = error
        finally:
            if hasattr(items, "close"):
                items.close()  # so that its files are closed by the time that `close` returns
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    def put(self, item: Item) -> bool:
        """Wait for room and add an item; False if nobody wants more."""
        with self.changed:
            while len(self.waiting) >= self.depth and not self.closed:
                self.changed.wait()
            self.waiting.append(item)
            self.changed.notify_all()
            return not self.closed

    def next(self) -> Item:
        """Wait for an item, and take it; `_END` after the last."""
        with self.changed:
            while not self.waiting and not self.ended:
                self.changed.wait()
            if not self.waiting:
                return _END
            self.changed.notify_all()
            return self.waiting.popleft()

    def close(self) -> None:
        """Tell the thread that nobody wants more."""
        with self.changed:
            self.closed = True
            self.waiting.clear()
            self.changed.notify_all()
