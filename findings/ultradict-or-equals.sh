#!/usr/bin/env bash
# `d |= {...}` on an `UltraDict` changes the copy of one process only.
#
# Expected: the shared dict takes the new entries, as with update(), or the operator is refused.
# Happens: the process that writes sees the entries, in `in`, len() and by key, and keeps seeing them; no other process
#   ever does, not after later writes either.
# Follows from: UltraDict 0.0.6: it inherits `|=` from UserDict, which changes the local dict beneath it. Way out:
#   update().
# Seen (CPython 3.11.7, UltraDict 0.0.6):
#   after d |= {'y': 2}: writer {'x': 1, 'y': 2}, reader {'x': 1}
#   after d['z'] = 3: writer {'x': 1, 'y': 2, 'z': 3}, reader {'x': 1, 'z': 3}
#   after d.update(v=4): writer {'x': 1, 'y': 2, 'z': 3, 'v': 4}, reader {'x': 1, 'z': 3, 'v': 4}
# Run by hand: findings/ultradict-or-equals.sh. Needs Python 3.11 with pip, a package index and /dev/shm. Exits with 1 if
#   this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check UltraDict==0.0.6

cat > probe.py <<'END'
import platform, sys
from importlib.metadata import version
from UltraDict import UltraDict

writer = UltraDict()
reader = UltraDict(name=writer.name)
writer["x"] = 1
print(f"CPython {platform.python_version()}, UltraDict {version('UltraDict')}")


def show(what):
    print(f"after {what}: writer {dict(writer)}, reader {dict(reader)}")


writer |= {"y": 2}
show("d |= {'y': 2}")
writer["z"] = 3
show("d['z'] = 3")
writer.update(v=4)
show("d.update(v=4)")
same = dict(writer) == {"x": 1, "y": 2, "z": 3, "v": 4} and dict(reader) == {"x": 1, "z": 3, "v": 4}
reader.close()
writer.unlink()
sys.exit(0 if same else 1)
END

env/bin/python probe.py
