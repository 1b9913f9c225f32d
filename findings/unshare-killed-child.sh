#!/usr/bin/env bash
# `unshare --fork` exits with 1, and complains about a signal mask, if its child was killed by SIGKILL.
#
# Expected: it passes on how its child ended, as it does for other signals and for exit codes, and as `setsid --wait`, `nsenter`
#   and `flock` do: 137 in a shell for a child that somebody, or the kernel for lack of memory, has killed.
# Happens: unshare means to die of the child's signal. It first resets that signal's action, which cannot be done for
#   SIGKILL, and takes the error for its own: exit code 1, which many programs use themselves.
# Follows from: util-linux 2.38.1 (Debian 12). Way out: `unshare --fork sh -c 'program; exit $?'`.
# Seen (util-linux 2.38.1), the exit status of a child that ends by itself:
#   exit 3:  unshare 3,   setsid 3,   flock 3
#   SIGTERM: unshare 143, setsid 143, flock 143
#   SIGKILL: unshare 1,   setsid 137, flock 137
#   unshare says: unshare: sigprocmask unblock failed: Invalid argument
# Run by hand: findings/unshare-killed-child.sh. Needs util-linux, and no privilege. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# ended COMMAND...: the exit status, without what the shell says about killed jobs
ended() { { "$@" 2>> said.log; echo "$?" > status; } 2> shell.log || true; cat status; }

unshare --version
as_seen=0
while IFS=: read -r name script by_unshare by_others; do
    set +e
    one=$(ended unshare --fork sh -c "$script")
    two=$(ended setsid --wait sh -c "$script")
    three=$(ended flock lock sh -c "$script")
    set -e
    echo "$name: unshare $one, setsid $two, flock $three"
    [ "$one $two $three" = "$by_unshare $by_others $by_others" ] || as_seen=1
done <<'END'
exit 3:exit 3:3:3
SIGTERM:kill -TERM $$:143:143
SIGKILL:kill -KILL $$:1:137
END
echo "unshare says: $(grep unshare: said.log)"
exit "$as_seen"
