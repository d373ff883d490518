"""A function of every clip of a set, in order: in this process, and in several where that pays."""

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

from sfvd_pl.datasets.sets import ClipSet, MeasuredClip
from sfvd_pl.signals import end_pool

T = TypeVar("T")

WORTH_SECONDS = 15.0
"""Work that is left, above which other processes pay for their start of some seconds."""
AHEAD = 4
"""Clips handed out for each process, so that results that wait for an earlier one stay few."""

_clips: ClipSet
_function: Callable[[MeasuredClip], object]


def _begin(function: Callable[[MeasuredClip], object], clips: ClipSet) -> None:
    global _clips, _function
    _clips, _function = clips, function


def _apply(number: int) -> object:
    return _function(_clips[number])


def over_clips(
    function: Callable[[MeasuredClip], T], clips: ClipSet, *, processes: int, worth: float = WORTH_SECONDS
) -> Iterator[T]:
    """Results of a function of each clip, in order.

    The first clips are done here, which tells how long the rest will take.

    Args:
        function: Can be pickled.
        clips: The set; each process opens its files for itself.
        processes: At most.
        worth: Seconds of work left above which other processes are started.
    """
    begun, total = time.monotonic(), len(clips)
    for number in range(total):
        spent = time.monotonic() - begun
        if processes > 1 and number and spent / number * (total - number) > worth:
            yield from _pooled(function, clips, number, min(processes, total - number))
            return
        yield function(clips[number])


def _pooled(
    function: Callable[[MeasuredClip], T], clips: ClipSet, first: int, processes: int
) -> Iterator[T]:
    # a fresh interpreter for each: a fork of a process with threads (torch, HDF5) may hang
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _begin, (function, clips))
    waiting: deque[Future[object]] = deque()
    try:
        for number in range(first, len(clips)):
            waiting.append(pool.submit(_apply, number))
            if len(waiting) >= AHEAD * processes:
                yield waiting.popleft().result()  # type: ignore[misc]
        while waiting:
            yield waiting.popleft().result()  # type: ignore[misc]
    except BaseException:
        end_pool(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
