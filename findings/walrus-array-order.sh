#!/usr/bin/env bash
# An `Array` of PyPI's `walrus` with more than ten elements is iterated in the order 0, 1, 10, 2, 3, ...
#
# Expected: iterating an array visits the elements in the order of their indices, as indexing does.
# Happens: the indices are sorted as texts. Up to ten elements nothing is noticed; from the eleventh on, `for` and
#   `list()` see another order than `array[0]`, `array[1]`, ...
# Follows from: walrus 0.9.8. Way out: index from 0 to len(array) - 1, or use walrus's List.
# Seen (CPython 3.11.7, redis-py 5.3.1, Redis 7.0.15):
#   10 elements: iterated in order True, indexed in order True
#   11 elements: iterated in order False, indexed in order True: [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]
#   200 elements: iterated in order False, indexed in order True: [0, 1, 10, 100, 101, 102, ...
# Run by hand: findings/walrus-array-order.sh. Needs Python 3.11 with pip, a package index and redis-server. Exits with
#   1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
cd "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" > redis.log &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do redis-cli -p "$port" ping > ping.log 2>&1 && break; sleep 0.1; done
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check walrus==0.9.8 redis==5.3.1

cat > probe.py <<'END'
import platform, sys
from importlib.metadata import version
from walrus import Database

server = Database(port=int(sys.argv[1]))
print(f"CPython {platform.python_version()}, walrus {version('walrus')}, redis-py {version('redis')},",
      f"Redis {server.info()['redis_version']}")
same = True
for count in (10, 11, 200):
    server.flushall()
    array = server.Array("array")
    array.extend([str(i) for i in range(count)])
    iterated = [int(item) for item in array]
    indexed = [int(array[i]) for i in range(count)]
    order = list(range(count))
    print(f"{count} elements: iterated in order {iterated == order}, indexed in order {indexed == order}: {iterated[:12]}")
    same = same and indexed == order and (iterated == order) == (count <= 10)
sys.exit(0 if same else 1)
END

env/bin/python probe.py "$port"
