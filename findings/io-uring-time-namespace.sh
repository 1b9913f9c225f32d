#!/usr/bin/env bash
# In a time namespace, absolute timeouts of io_uring count by the clock of the host: they end at once, or much too late.
#
# Expected: an absolute time on CLOCK_MONOTONIC is meant as the caller's clock_gettime returns it. time_namespaces(7): a
#   namespace "affects various APIs that measure against these clocks". Futexes and timer descriptors convert.
# Happens: IORING_OP_TIMEOUT with IORING_TIMEOUT_ABS, and io_uring_enter with IORING_ENTER_ABS_TIMER, do not. Where the
#   namespace's clock is 1000 s ahead, a deadline in 0.5 s comes 1000 s too late, and where it is behind, at once.
# Follows from: Linux 6.18.44. Way out: relative timeouts.
# Seen (Linux 6.18.44, unshare of util-linux 2.38.1), the end of a wait for a deadline 0.5 s ahead, given up after 3 s:
#   clock +0 s: futex in time, timerfd in time, io_uring timeout in time, io_uring_enter in time
#   clock +1000 s: futex in time, timerfd in time, io_uring timeout too late, io_uring_enter too late
#   clock -1000 s: futex in time, timerfd in time, io_uring timeout at once, io_uring_enter at once
# Run by hand: findings/io-uring-time-namespace.sh, as root, more than 1000 s after the boot. Needs gcc, the headers of
#   Linux 6.12 or later and kernel.io_uring_disabled = 0. Exits with 1 if this has changed, with 2 if it cannot be tried.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > probe.c <<'END'
#define _GNU_SOURCE
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifndef IORING_ENTER_ABS_TIMER
#define IORING_ENTER_ABS_TIMER (1U << 5) /* Linux 6.12 */
#endif

static int ring;
static char *queue;
static struct io_uring_params params;
static struct io_uring_sqe *entry;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void by_futex(struct timespec *end) {
    unsigned word = 0;
    syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, end, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void by_timerfd(struct timespec *end) {
    struct itimerspec at = {.it_value = *end};
    unsigned long times;
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL);
    if (read(fd, &times, sizeof times) != sizeof times) exit(2);
    close(fd);
}

static void by_timeout(struct timespec *end) {
    struct __kernel_timespec at = {end->tv_sec, end->tv_nsec};
    memset(entry, 0, sizeof *entry);
    entry->opcode = IORING_OP_TIMEOUT;
    entry->addr = (unsigned long)&at;
    entry->len = 1;
    entry->timeout_flags = IORING_TIMEOUT_ABS;
    *(unsigned *)(queue + params.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
    syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
}

static void by_enter(struct timespec *end) {
    struct __kernel_timespec at = {end->tv_sec, end->tv_nsec};
    struct io_uring_getevents_arg arg = {.ts = (unsigned long)&at};
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | IORING_ENTER_ABS_TIMER;
    syscall(SYS_io_uring_enter, ring, 0, 2, flags, &arg, sizeof arg);
}

static void interrupt(int signal) { (void)signal; }

static void measure(const char *name, void (*wait)(struct timespec *)) {
    double start = now(), end = start + 0.5;
    struct timespec at = {(time_t)end, (long)((end - (double)(time_t)end) * 1e9)};
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGALRM, &action, NULL);
    alarm(3);
    wait(&at);
    alarm(0);
    double took = now() - start;
    printf(" %s %s,", name, took < 0.25 ? "at once" : took < 2.5 ? "in time" : "too late");
}

int main(void) {
    ring = (int)syscall(SYS_io_uring_setup, 2, &params);
    if (ring < 0) return 2;
    size_t length = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    queue = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    entry = mmap(NULL, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (queue == MAP_FAILED || entry == MAP_FAILED) return 2;
    measure("futex", by_futex);
    measure("timerfd", by_timerfd);
    measure("io_uring timeout", by_timeout);
    measure("io_uring_enter", by_enter);
}
END

uname -sr
gcc -Wall -Wextra -o probe probe.c
as_seen=0
for case in '+0:in time' '+1000:too late' '-1000:at once'; do
    offset=${case%:*} expected=${case#*:}
    waits=$(unshare --time --monotonic "${offset#+}" --fork ./probe) || exit 2
    echo "clock $offset s:${waits%,}"
    [ "$waits" = " futex in time, timerfd in time, io_uring timeout $expected, io_uring_enter $expected," ] || as_seen=1
done
exit "$as_seen"
