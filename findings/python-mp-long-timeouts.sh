#!/usr/bin/env bash
# Python's multiprocessing takes timeouts up to 24.8 days in half of its calls; `inf` works until a lock is contended.
#
# Expected: a timeout is any number of seconds, as in `threading`, whose limit is a documented constant of 292 years and
#   whose `Queue` and `join` are the model for these calls. The documentation of multiprocessing names no limit.
# Happens: calls that wait for a descriptor pass the time to poll(2) as milliseconds in a C int. `Process.join`,
#   `Connection.poll`, `connection.wait` and `Queue.get` raise OverflowError for 30 days, even if the message is there
#   or the child has ended. `Queue.put`, locks and pools take 30 days. A lock takes `inf` while it is free: the time
#   matters only if it has to wait, and then it raises "OSError: [Errno 22] Invalid argument", as does an Event. So a
#   program that passes `inf` for "no limit" works in its tests, and fails at its first contention.
# Follows from: CPython 3.11 to 3.13 on Linux (seen with 3.11.7, 3.12.1 and 3.13.0); standard library only.
# Seen (CPython 3.11.7):
#   30 days: Queue_get, Connection_poll, connection_wait, Process_join: OverflowError each
#   30 days: queue_Queue_get, Thread_join, Queue_put, Lock: ok each
#   24 days: Queue_get ok, Process_join ok
#   inf: free_Lock ok, held_Lock OSError, set_Event ok, clear_Event OSError
# Run by hand: findings/python-mp-long-timeouts.sh. Needs python3. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > probe.py <<'END'
import math, multiprocessing as mp, queue, sys, threading, time
from multiprocessing.connection import wait

DAY = 24 * 60 * 60
as_seen = True


def see(title, expected, **actions):
    """Runs actions that have nothing to wait for, and compares what they raise with what was seen."""
    global as_seen
    results = {}
    for name, action in actions.items():
        try:
            action()
            results[name] = "ok"
        except Exception as error:
            results[name] = type(error).__name__
    print(f"{title}:", ", ".join(f"{name} {result}" for name, result in results.items()))
    as_seen &= list(results.values()) == expected


def filled(made):
    made.put("an item")
    while made.empty():
        time.sleep(0.01)
    return made


def ended():
    child = mp.Process(target=time.time)
    child.start()
    wait([child.sentinel])
    return child


def main():
    reader, writer = mp.Pipe(duplex=False)
    writer.send("a message")
    thread = threading.Thread(target=time.time)
    thread.start()
    lock, event, is_set = mp.Lock(), mp.Event(), mp.Event()
    is_set.set()

    see("30 days", ["OverflowError"] * 4,
        Queue_get=lambda: filled(mp.Queue()).get(timeout=30 * DAY), Connection_poll=lambda: reader.poll(30 * DAY),
        connection_wait=lambda: wait([reader], 30 * DAY), Process_join=lambda: ended().join(30 * DAY))
    see("30 days", ["ok"] * 4,
        queue_Queue_get=lambda: filled(queue.Queue()).get(timeout=30 * DAY), Thread_join=lambda: thread.join(30 * DAY),
        Queue_put=lambda: mp.Queue(1).put(1, timeout=30 * DAY), Lock=lambda: mp.Lock().acquire(timeout=30 * DAY))
    see("24 days", ["ok"] * 2,
        Queue_get=lambda: filled(mp.Queue()).get(timeout=24 * DAY), Process_join=lambda: ended().join(24 * DAY))
    see("inf", ["ok", "OSError"] * 2,
        free_Lock=lambda: lock.acquire(timeout=math.inf), held_Lock=lambda: lock.acquire(timeout=math.inf),
        set_Event=lambda: is_set.wait(math.inf), clear_Event=lambda: event.wait(math.inf))


if __name__ == "__main__":
    main()
    sys.exit(not as_seen)
END

python3 --version
timeout 60 python3 probe.py
