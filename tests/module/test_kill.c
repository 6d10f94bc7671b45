// SPDX-License-Identifier: MIT
/* Processes that die in the middle of a pin: by a signal, or because memory ran out. */
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "guest.h"
#include "trace.h"

/* ---------------------------------------------------------------- SIGKILL */

/* One death: when the signal was sent, and what the module did about it. */
struct death {
	int pid;
	double sent; /* 0: not yet */
	double released, undoing;
	uint64_t bytes; /* that were pinned by then */
};

static void look(const struct traced *event, void *arg)
{
	struct death *d = arg;

	if (!strncmp(event->what, "signal_generate:", 16) &&
	    traced_number(event, "sig") == SIGKILL &&
	    traced_number(event, "pid") == (uint64_t)d->pid) {
		d->sent = event->at;
	} else if (!strncmp(event->what, "sherd_release:", 14) && event->pid == d->pid && d->sent &&
		   !d->released) {
		d->released = event->at;
		d->undoing = traced_number(event, "ns") * 1e-9;
		d->bytes = traced_number(event, "bytes");
	}
}

static struct death kill_after(int fd, size_t bytes, double seconds)
{
	static const char *const events[] = { "signal/signal_generate", "sherd/sherd_release",
					      NULL };
	struct death d = { 0 };

	if (!trace_start(events))
		test_skip("no tracing in this guest");
	d.pid = fork();
	if (!d.pid) {
		pin(fd, 0, bytes, 0);
		pause();
	}
	usleep(seconds * 1e6);
	kill(d.pid, SIGKILL);
	waitpid(d.pid, NULL, 0);
	trace_stop(events);
	trace_each(look, &d);
	CHECK(d.sent && d.released >= d.sent);
	return d;
}

static int by_length(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

/*
 * The tracepoints tell how long the request went on after the signal, and how long it took to undo
 * what was done. What is measured is an emulated machine on a busy one, so the bound on the worst
 * is wide; half of them keep to what is promised, 100 ms.
 */
static void killed(size_t bytes, int times)
{
	int fd = memfd(0, bytes, F_SEAL_SHRINK), buffer, amid = 0, i;
	double start, whole, noticed[32], undone[32];
	struct death d;

	/* Once to the end: the memory is there from now on, and the time is known. */
	close(pin(fd, 0, bytes, 0));
	start = now();
	buffer = pin(fd, 0, bytes, 0);
	CHECK(buffer >= 0);
	whole = now() - start;
	close(buffer);
	for (i = 1; amid < times && i < 4 * times; i++) {
		d = kill_after(fd, bytes, whole * (i % times + 1) / (times + 1) + 0.005);
		if (d.bytes == bytes)
			continue;
		noticed[amid] = d.released - d.undoing - d.sent;
		undone[amid++] = d.released - d.sent;
	}
	CHECK(amid);
	qsort(noticed, amid, sizeof(*noticed), by_length);
	qsort(undone, amid, sizeof(*undone), by_length);
	printf("# emulated: pinning %zu MiB takes %.0f ms; %d times amid it SIGKILL was noticed in %.1f ms (median; worst %.1f), and all undone in %.1f ms (worst %.1f)\n",
	       bytes >> 20, whole * 1e3, amid, noticed[amid / 2] * 1e3, noticed[amid - 1] * 1e3,
	       undone[amid / 2] * 1e3, undone[amid - 1] * 1e3);
	CHECK(noticed[amid - 1] < 2 && undone[amid - 1] < 5);
	/* instruments take their time */
	CHECK(option("sherd.sees=") || noticed[amid / 2] < 0.1);
	CHECK_EQ(vm_pin(), 0);
}

static void killed_short(void)
{
	killed(256 << 20, 9);
}

static void killed_long(void)
{
	killed(3ul << 30, 20);
}

/* ---------------------------------------------------------------- out of memory */

#define CGROUP "/tmp/cgroup"
#define LITTLE (32ul << 20)
#define MUCH (128ul << 20)

static bool put_in(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return done;
}

/* Runs fn where there is little memory; it is to be killed for that. */
static void starve(int (*fn)(void))
{
	char text[32];
	int status;
	pid_t pid;

	mkdir(CGROUP, 0755);
	if (mount("cgroup2", CGROUP, "cgroup2", 0, NULL))
		test_skip("no cgroups in this guest: %s", strerror(errno));
	if (!put_in(CGROUP "/cgroup.subtree_control", "+memory")) {
		umount(CGROUP);
		test_skip("no memory cgroups in this guest");
	}
	mkdir(CGROUP "/little", 0755);
	snprintf(text, sizeof(text), "%lu", LITTLE);
	CHECK(put_in(CGROUP "/little/memory.max", text));
	pid = fork();
	if (!pid)
		_exit(put_in(CGROUP "/little/cgroup.procs", "0") ? fn() : 99);
	waitpid(pid, &status, 0);
	CHECK_EQ(WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status), SIGKILL);
	CHECK(number_in(CGROUP "/little/memory.events", "oom_kill ") >= 1);
	CHECK_EQ(rmdir(CGROUP "/little"), 0);
	CHECK_EQ(umount(CGROUP), 0);
}

static char path[64];

static int pin_memfd(void)
{
	return pin(memfd(0, MUCH, F_SEAL_SHRINK), 0, MUCH, 0) >= 0;
}

/* Pages of files can be dropped for others, but not once they are pinned. */
static int pin_file(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return pin_at(fd, map(fd, MUCH, PROT_READ, MAP_SHARED), MUCH, SHERD_PIN_IMMUTABLE) >= 0;
}

static void starved_memfd(void)
{
	starve(pin_memfd);
}

static void starved_file(void)
{
	int fd = file_in(mounted("/ext4") ? "/ext4" : "/tmp", page, path);

	close(fd);
	CHECK_EQ(truncate(path, MUCH), 0);
	starve(pin_file);
	/* and writers are let in again */
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	unlink(path);
}

const struct test kill_tests[] = {
	{ "a process that is killed in a pin of 256 MiB leaves nothing", killed_short, 0 },
	{ "a process that is killed in a pin of 3 GiB leaves nothing", killed_long, 1 },
	{ "a process that runs out of memory while it pins a memfd leaves nothing", starved_memfd,
	  0 },
	{ "a process that runs out of memory while it pins a file leaves nothing", starved_file,
	  0 },
	{ 0 }
};
