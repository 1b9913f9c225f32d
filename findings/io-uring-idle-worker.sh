#!/usr/bin/env bash
# One fsync through io_uring makes a program without threads multi-threaded, for as long as the ring exists.
#
# Expected: the kernel's worker that served the request ends when it has been idle for five seconds (its limit in
#   io_uring/io-wq.c). A program that starts no thread may go on to fork, or call unshare(CLONE_NEWUSER) and setns.
# Happens: idle workers end down to the last one, which stays. It is a thread of the process: /proc/self/task counts it,
#   and unshare(2) fails with EINVAL as for any second thread. The answer to "am I single-threaded?" is no, although
#   this thread runs no code of the program and holds none of its locks. It ends when the ring does: closed *and*
#   unmapped. A child of fork has only the one thread, at once.
# Follows from: Linux (workers are threads of the process since 5.12; seen with 6.18.44). The kernel's maintainer calls
#   it expected (axboe/liburing issue 1569). No library is involved.
# Seen (Linux 6.18.44, glibc 2.36):
#   at first: 1 thread, unshare ok
#   ring made: 1 thread, unshare ok
#   fsync done: 2 threads, unshare EINVAL
#   idle for 8 s: 2 threads, unshare EINVAL
#   child of fork: 1 thread, unshare ok
#   closed, still mapped, 2 s later: 2 threads, unshare EINVAL
#   unmapped, 2 s later: 1 thread, unshare ok
# Run by hand: findings/io-uring-idle-worker.sh. Needs gcc, the kernel's headers and kernel.io_uring_disabled = 0.
#   Exits with 1 if this has changed, with 2 if there is no io_uring.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > probe.c <<'END'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether there are as many threads as expected. unshare(CLONE_THREAD) changes nothing: it fails if there are two. */
static int look(const char *when, int expected) {
    struct stat tasks;
    if (stat("/proc/self/task", &tasks) != 0) return 0;
    int threads = (int)tasks.st_nlink - 2;
    int error = unshare(CLONE_THREAD) == 0 ? 0 : errno;
    printf("%s: %d thread%s, unshare %s\n", when, threads, threads == 1 ? "" : "s", error == EINVAL ? "EINVAL" : "ok");
    fflush(stdout);
    return threads == expected && (error == EINVAL) == (expected > 1);
}

int main(void) {
    int seen = look("at first", 1);
    struct io_uring_params params = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
    if (ring < 0) return 2;
    size_t length = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    char *queue = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry =
        mmap(NULL, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (queue == MAP_FAILED || entry == MAP_FAILED) return 2;
    seen &= look("ring made", 1);

    memset(entry, 0, sizeof *entry);
    entry->opcode = IORING_OP_FSYNC;
    entry->fd = open("file", O_RDWR | O_CREAT, 0600);
    *(unsigned *)(queue + params.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1) return 2;
    seen &= look("fsync done", 2);

    sleep(8);
    seen &= look("idle for 8 s", 2);

    pid_t child = fork();
    if (child == 0) _exit(!look("child of fork", 1));
    int status = 1;
    waitpid(child, &status, 0);

    close(ring);
    sleep(2);
    seen &= look("closed, still mapped, 2 s later", 2);
    munmap(queue, length);
    munmap(entry, sizeof *entry);
    sleep(2);
    seen &= look("unmapped, 2 s later", 1);
    return !(seen && status == 0);
}
END

uname -sr
getconf GNU_LIBC_VERSION
gcc -O1 -Wall -Wextra -Werror -o probe probe.c
./probe
