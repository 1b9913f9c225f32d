#!/usr/bin/env bash
# PyPI's `SharedArray` silently makes an array of another dtype than the requested one.
#
# Expected: `SharedArray.create(name, shape, dtype)` takes a dtype like numpy.zeros, and returns an array of it; a
#   dtype that cannot be shared is refused.
# Happens: it keeps numpy's type *number* and the item size only. A structured dtype loses its fields, a datetime64 or
#   timedelta64 its unit, an integer its byte order; in the creator's own array as in one that is attached. Field access
#   and assignments of dates then raise, far from the call that lost the dtype. "S5" and "U5" are kept.
# Follows from: SharedArray 3.2.4 with numpy 2.4.6. Way out: create bytes ("u1"), and view them as the dtype.
# Seen (CPython 3.11.7, SharedArray 3.2.4, numpy 2.4.6):
#   asked for [('x', '<i4'), ('y', '<f8')], created |V12, attached |V12
#   asked for <M8[s], created <M8, attached <M8
#   asked for <m8[ms], created <m8, attached <m8
#   asked for >i4, created <i4, attached <i4
#   asked for |S5, created |S5, attached |S5
#   a date into <M8[s]: ValueError; a field by its name: IndexError; through a view of bytes: 2026-01-01T00:00:00
# Run by hand: findings/sharedarray-dtype.sh. Needs Python 3.11 or newer with pip, a C compiler, a package index and
#   /dev/shm. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > probe.py <<'END'
import os, platform, sys
from importlib.metadata import version
import numpy, SharedArray

name = f"shm://dtype-{os.getpid()}"


def named(dtype):
    return dtype.descr if dtype.names else dtype.str


def error(action):
    try:
        action()
        return "no error"
    except Exception as failure:
        return type(failure).__name__


def through(dtype, action):
    """Calls `action` with a shared array of two items, and with the same one attached."""
    created = SharedArray.create(name, 2, dtype=dtype)
    try:
        return action(created, SharedArray.attach(name))
    finally:
        SharedArray.delete(name)


print("CPython", platform.python_version(), "SharedArray", version("SharedArray"), "numpy", numpy.__version__)
kept = []
for asked in map(numpy.dtype, [[("x", "i4"), ("y", "f8")], "M8[s]", "m8[ms]", ">i4", "S5"]):
    created, attached = through(asked, lambda created, attached: (created.dtype, attached.dtype))
    print(f"asked for {named(asked)}, created {named(created)}, attached {named(attached)}")
    kept.append(created == asked == attached)

dates = numpy.array(["2026-01-01", "2026-01-02"], dtype="M8[s]")
date = through("M8[s]", lambda array, _: error(lambda: array.__setitem__(slice(None), dates)))
field = through([("x", "i4")], lambda array, _: error(lambda: array["x"]))
shared = SharedArray.create(name, dates.nbytes, dtype="u1")
SharedArray.delete(name)
shared.view("M8[s]")[:] = dates
print(f"a date into <M8[s]: {date}; a field by its name: {field}; through a view of bytes: {shared.view('M8[s]')[0]}")
sys.exit((kept, date, field) != ([False] * 4 + [True], "ValueError", "IndexError"))
END

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 SharedArray==3.2.4
timeout 60 venv/bin/python probe.py
