#!/usr/bin/env bash
# A child of PyPI's `aiomultiprocess` with `maxtasksperchild=1` runs 16 tasks before it is replaced.
#
# Expected: `maxtasksperchild` is the "number of tasks to execute before recycling a child process": with 1, each task has
#   a process of its own, as in multiprocessing.Pool, and what it leaks or breaks ends with it.
# Happens: a child counts the tasks that it has finished, and picks up new ones until `childconcurrency` of them, 16 by
#   default, run at the same time. So all the tasks that arrive before the first one ends share the process.
# Follows from: aiomultiprocess 0.9.1. Way out: childconcurrency=1 beside maxtasksperchild.
# Seen (CPython 3.11.7), one process, 20 tasks of 0.5 s, tasks that each child ran:
#   maxtasksperchild=1: [16, 4]
#   maxtasksperchild=1, childconcurrency=1, 4 tasks: [1, 1, 1, 1]
#   multiprocessing.Pool, maxtasksperchild=1, 4 tasks: [1, 1, 1, 1]
# Run by hand: findings/aiomultiprocess-max-tasks.sh. Needs Python 3.11 with pip and a package index. Exits with 1 if this
#   has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check aiomultiprocess==0.9.1

cat > probe.py <<'END'
import asyncio, multiprocessing, os, platform, sys
from collections import Counter
from importlib.metadata import version
from aiomultiprocess import Pool


async def pid(_):
    await asyncio.sleep(0.5)
    return os.getpid()


def plain_pid(_):
    return os.getpid()


def per_child(pids):
    return sorted(Counter(pids).values(), reverse=True)


async def measure(tasks, **options):
    async with Pool(processes=1, maxtasksperchild=1, **options) as pool:
        return per_child(await pool.map(pid, range(tasks)))


if __name__ == "__main__":
    print(f"CPython {platform.python_version()}, aiomultiprocess {version('aiomultiprocess')}")
    by_default = asyncio.run(measure(20))
    print("maxtasksperchild=1:", by_default)
    one_by_one = asyncio.run(measure(4, childconcurrency=1))
    print("maxtasksperchild=1, childconcurrency=1, 4 tasks:", one_by_one)
    with multiprocessing.Pool(1, maxtasksperchild=1) as pool:
        plain = per_child(pool.map(plain_pid, range(4), chunksize=1))
    print("multiprocessing.Pool, maxtasksperchild=1, 4 tasks:", plain)
    sys.exit(0 if by_default[0] > 1 and one_by_one == plain == [1] * 4 else 1)
END

timeout 60 env/bin/python probe.py
