#!/usr/bin/env bash
# PyPI's `shared-memory-dict` loses a key when two processes write, also with the lock that it documents for that.
#
# Expected: with SHARED_MEMORY_USE_LOCK=1 it uses a lock "on write operations": two processes that set different keys do so
#   one after the other, and both keys are there.
# Happens: the lock is taken and released while the context manager of the write is made, before anything is read. Two
#   writers read the same dict, each adds its key, and the one that stores last drops the other's key. Here the serializer
#   lets each writer wait, with its change made and not yet stored, until the other is there as well: with a lock they
#   would never meet.
# Follows from: shared-memory-dict 0.7.2. Way out: a lock of one's own around each change.
# Seen (CPython 3.11.7):
#   SHARED_MEMORY_USE_LOCK=1: both wrote at the same time: True, keys: 1 of 2
#   with a multiprocessing.Lock around `d[key] = 1`: both wrote at the same time: False, keys: 2 of 2
# Run by hand: findings/shared-memory-dict-lock.sh. Needs Python 3.11 with pip and a package index. Exits with 1 if this
#   has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check shared-memory-dict==0.7.2

cat > probe.py <<'END'
import contextlib, multiprocessing, os, platform, sys, threading
from importlib.metadata import version

os.environ["SHARED_MEMORY_USE_LOCK"] = "1"
from shared_memory_dict import SharedMemoryDict  # reads the variable
from shared_memory_dict.serializers import PickleSerializer


class Meeting(PickleSerializer):
    """A writer that is about to store its dict waits for the other one, for two seconds at most."""

    def __init__(self, barrier):
        self.barrier = barrier

    def dumps(self, obj):
        if obj:
            with contextlib.suppress(threading.BrokenBarrierError):
                self.barrier.wait(2)
        return super().dumps(obj)


def write(name, barrier, lock, key):
    shared = SharedMemoryDict(name, 4096, serializer=Meeting(barrier))
    with lock:
        shared[key] = 1


def both(name, lock):
    shared = SharedMemoryDict(name, 4096)
    barrier = multiprocessing.Barrier(2)
    writers = [multiprocessing.Process(target=write, args=(name, barrier, lock, key)) for key in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    seen = not barrier.broken, len(shared)
    shared.shm.close()
    shared.shm.unlink()
    return seen


print(f"CPython {platform.python_version()}, shared-memory-dict {version('shared-memory-dict')}")
own = both(f"probe-{os.getpid()}-a", contextlib.nullcontext())
print("SHARED_MEMORY_USE_LOCK=1: both wrote at the same time: {}, keys: {} of 2".format(*own))
around = both(f"probe-{os.getpid()}-b", multiprocessing.Lock())
print("with a multiprocessing.Lock around `d[key] = 1`: both wrote at the same time: {}, keys: {} of 2".format(*around))
sys.exit(0 if own == (True, 1) and around == (False, 2) else 1)
END

timeout 60 env/bin/python probe.py 2> errors.log || { cat errors.log; exit 1; }
