#!/usr/bin/env bash
# PyPI's `arrayqueues`: what `get` returned changes with later puts, two producers overwrite each other, a big array fits once.
#
# Expected: "a drop-in replacement for the Python multiprocessing Queue" for arrays, with a limit of memory: what was got
#   belongs to the getter, any process may put, and an empty queue takes an array that fits.
# Happens: `get` returns a view of the queue's memory and frees it in the same moment, so the producer writes into arrays
#   that the consumer still uses. Each process counts its own position, so two producers write to the same places and
#   their items come out as the last writer's. And the queue counts as full if the next position is the last one that was
#   read: a queue with room for one array takes a single array in its life.
# Follows from: arrayqueues 1.4.1. Way out: one producer, memory for many arrays, and get().copy() at once.
# Seen (CPython 3.11.7, numpy 1.26.4):
#   got [1. 1.], after 3 more puts it is [4. 4.]
#   process A put 1 and 2, process B put 3 and 4, got: [3.0, 4.0, 3.0, 4.0]
#   room for one array, empty: put raises Full; with room for two: put raises nothing
# Run by hand: findings/arrayqueues-views.sh. Needs Python 3.11 with pip and a package index. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check arrayqueues==1.4.1 numpy==1.26.4

cat > probe.py <<'END'
import multiprocessing, platform, sys, time
from importlib.metadata import version
from queue import Full
import numpy as np
from arrayqueues.shared_arrays import ArrayQueue

ITEM = 16  # bytes of an array of two float64


def pair(number):
    return np.full(2, float(number))


def room_for(items):
    return ArrayQueue(max_mbytes=(items * ITEM + 1) / 1e6)


def put(queue, number):
    """The producer hears late of what was read, so Full counts only if it lasts for a second."""
    for _ in range(100):
        try:
            queue.put(pair(number))
            return "nothing"
        except Full:
            time.sleep(0.01)
    return "Full"


def kept():
    queue = room_for(3)
    queue.put(pair(1))
    got = queue.get(timeout=10)
    before = str(got)
    for number in (2, 3, 4):
        put(queue, number)
        queue.get(timeout=10)
    print(f"got {before}, after 3 more puts it is {got}")
    return before != str(got)


def put_all(queue, numbers):
    for number in numbers:
        queue.put(pair(number))


def two_producers():
    queue = room_for(100)
    for numbers in ((1, 2), (3, 4)):  # one after the other: no race
        producer = multiprocessing.Process(target=put_all, args=(queue, numbers))
        producer.start()
        producer.join()
    got = [float(queue.get(timeout=10)[0]) for _ in range(4)]
    print(f"process A put 1 and 2, process B put 3 and 4, got: {got}")
    return got == [3.0, 4.0, 3.0, 4.0]


def reused(items):
    queue = room_for(items)
    queue.put(pair(1))
    queue.get(timeout=10)
    return put(queue, 2)


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    print(f"CPython {platform.python_version()}, arrayqueues {version('arrayqueues')}, numpy {np.__version__}")
    as_seen = [kept(), two_producers()]
    one, two = reused(1), reused(2)
    print(f"room for one array, empty: put raises {one}; with room for two: put raises {two}")
    sys.exit(0 if all(as_seen) and (one, two) == ("Full", "nothing") else 1)
END

timeout 60 env/bin/python probe.py
