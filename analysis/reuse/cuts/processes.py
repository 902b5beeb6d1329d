"""Work on items by several processes, with the results in the items' order."""

from __future__ import annotations

import contextlib
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from densenet_core import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    prepare: Callable[[], Callable[[Item], Result]], items: Sequence[Item], num_processes: int = 1
) -> Iterator[Result]:
    """Yield the result of each item, in order; an item is given to the first process that is free.

    >>> from functools import partial
    >>> list(in_order(partial(partial, len), ["a", "bcd"]))
    [1, 3]

    Args:
        prepare: returns the function of one item; called once in each process, to which it is pickled.
        num_processes: 1: the work is done in this process. The processes share this one's number of threads.

    Raises:
        RunError: a process ended before its work was done.
    """
    number = min(num_processes, len(items))
    if number <= 1:
        yield from map(prepare(), items) if items else ()
        return
    order = pickle.dumps(prepare), max(1, torch.get_num_threads() // number)
    team = [_start(order) for _ in range(number)]
    try:
        yield from _collect([connection for _, connection in team], items)
    finally:
        for process, connection in team:
            process.terminate()
            process.join()
            connection.close()


def _start(order: tuple[bytes, int]) -> tuple[BaseProcess, Connection]:
    context = get_context("spawn")  # the only one everywhere; a fork of a process with threads can hang
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, *order), daemon=True)
    with _ignored_by_children():
        process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return process, ours


@contextlib.contextmanager
def _ignored_by_children() -> Iterator[None]:
    """Let processes that start here ignore Ctrl-C from their first moment: imports would end with a traceback."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


def _collect(connections: list[Connection], items: Sequence[Item]) -> Iterator[Any]:
    left, busy = iter(enumerate(items)), list(connections)
    found: dict[int, Any] = {}
    wanted = 0
    for connection in connections:
        connection.send(next(left))
    while wanted < len(items):
        ready = wait(busy)
        for connection in [one for one in busy if one in ready]:
            number, found[number] = _receive(connection)
            following = next(left, None)
            if following is None:
                busy.remove(connection)
            else:
                connection.send(following)
        while wanted in found:
            yield found.pop(wanted)
            wanted += 1


def _receive(connection: Connection) -> tuple[int, Any]:
    try:
        number, result, error = connection.recv()
    except (EOFError, OSError) as ended:
        raise RunError(
            "a worker process ended before its work was done: use fewer workers if memory is short"
        ) from ended
    if error is not None:
        raise error
    return number, result


def _serve(connection: Connection, packed: bytes, num_threads: int) -> None:
    """Answer items in a process until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that started this one, which ends this one
    torch.set_num_threads(num_threads)
    function = pickle.loads(packed)()
    with contextlib.suppress(EOFError, OSError):
        while True:
            number, item = connection.recv()
            answer: tuple[int, Any, Exception | None]
            try:
                answer = number, function(item), None
            except Exception as error:
                answer = number, None, error
            connection.send(answer)
