#!/usr/bin/env bash
# Deleting an empty slice of a list of PyPI's `redis-collections` adds an element.
#
# Expected: `del items[2:1]` deletes nothing, as with Python's list, whose interface the class has and refers to.
# Happens: the tail from the end of the slice is appended to the head before its start, so the elements between the two
#   bounds are there twice. Reading and assigning such a slice are right.
# Follows from: redis-collections 0.13.0. Way out: delete only if start < stop.
# Seen (CPython 3.11.7, redis-py 5.3.1, Redis 7.0.15):
#   del [0, 1, 2, 3][2:1]: [0, 1, 1, 2, 3], Python [0, 1, 2, 3]
#   del [0, 1, 2, 3][3:1]: [0, 1, 2, 1, 2, 3], Python [0, 1, 2, 3]
# Run by hand: findings/redis-collections-empty-slice.sh. Needs Python 3.11 with pip, a package index and redis-server.
#   Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" > redis.log &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do redis-cli -p "$port" ping > ping.log 2>&1 && break; sleep 0.1; done
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check redis-collections==0.13.0 redis==5.3.1

cat > probe.py <<'END'
import platform, sys
from importlib.metadata import version
import redis
from redis_collections import List

server = redis.Redis(port=int(sys.argv[1]))


def deleted(items, part):
    del items[part]
    return list(items)


print(f"CPython {platform.python_version()}, redis-collections {version('redis-collections')},",
      f"redis-py {version('redis')}, Redis {server.info()['redis_version']}")
same = True
for start, stop in ((2, 1), (3, 1), (3, 2), (2, 2), (1, 3)):
    server.flushall()
    ours = deleted(List([0, 1, 2, 3], redis=server, key="items"), slice(start, stop))
    theirs = deleted([0, 1, 2, 3], slice(start, stop))
    print(f"del [0, 1, 2, 3][{start}:{stop}]: {ours}, Python {theirs}")
    same = same and (ours != theirs) == (start > stop)
sys.exit(0 if same else 1)
END

env/bin/python probe.py "$port"
