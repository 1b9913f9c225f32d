#!/usr/bin/env bash
# `get(timeout=0.2)` of PyPI's `dejaq` waits for as long as another consumer waits, for ever if that has no timeout.
#
# Expected: the timeout is the "maximum time to wait for an item", as in multiprocessing.Queue, which `dejaq` replaces.
# Happens: a consumer takes the queue's lock for getters, without a timeout, and then waits for an item with the lock in
#   its hand. So while one consumer waits in get(), every other one waits for the lock first, and its own timeout only
#   begins when the first has got its item.
# Follows from: dejaq 0.7.0. Way out: one consumer, or the same short timeout for all of them.
# Seen (CPython 3.11.7), an empty queue, get(timeout=0.2):
#   alone: TimeoutError after 0.2 s, beside a consumer that waits for 4 s: TimeoutError after 3.2 s
#   the same with multiprocessing.Queue: Empty after 0.2 s, Empty after 0.2 s
# Run by hand: findings/dejaq-get-timeout.sh. Needs Python 3.11 with pip and a package index. Exits with 1 if this has
#   changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check dejaq==0.7.0 numpy==1.26.4 posix_ipc==1.3.2

cat > probe.py <<'END'
import multiprocessing, platform, queue, sys, time
from importlib.metadata import version
from dejaq import DejaQueue

ASKED, OTHER, HEAD_START = 0.2, 4, 1


def wait(box, timeout, begun=None):
    if begun:
        begun.set()
    start = time.monotonic()
    try:
        box.get(timeout=timeout)
    except (TimeoutError, queue.Empty) as error:
        return type(error).__name__, time.monotonic() - start


def measure(box):
    alone = wait(box, ASKED)
    begun = multiprocessing.Event()
    other = multiprocessing.Process(target=wait, args=(box, OTHER, begun))
    other.start()
    begun.wait()
    time.sleep(HEAD_START)
    beside = wait(box, ASKED)
    other.join()
    return alone, beside


if __name__ == "__main__":
    print(f"CPython {platform.python_version()}, dejaq {version('dejaq')}, posix_ipc {version('posix_ipc')}")
    took = []
    for box in (DejaQueue(buffer_bytes=100_000), multiprocessing.Queue()):
        (name, alone), (_, beside) = measure(box)
        print(f"{type(box).__name__}: alone: {name} after {alone:.1f} s,",
              f"beside a consumer that waits for {OTHER} s: {name} after {beside:.1f} s")
        took += [alone, beside]
    sys.exit(0 if took[0] < 1 and took[1] > 1.5 and took[2] < 1 and took[3] < 1 else 1)
END

timeout 60 env/bin/python probe.py
