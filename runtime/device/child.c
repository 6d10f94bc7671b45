/* SPDX-License-Identifier: MIT */
/*
 * child: runs `sherd device-test` as a process of its own. Drivers crash and hang, and PoCL's compiler
 * stays in memory once it was used: let that happen to somebody else first. A fork without exec would
 * not do: drivers don't survive it.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "device/device.h"

#define MAX_ARGS 32

extern char **environ;

/* This program, if it is sherd; else the installed one; else what PATH has. Free it. */
static char *find_command(void)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *path = getenv("PATH");
	const char *base;
	char *found;

	if (len > 0) {
		self[len] = 0;
		base = strrchr(self, '/');
		if (base && !strcmp(base, "/sherd"))
			return strdup(self);
	}
#ifdef SHERD_BINDIR
	if (!access(SHERD_BINDIR "/sherd", X_OK))
		return strdup(SHERD_BINDIR "/sherd");
#endif
	while (path && *path) {
		int n = (int)strcspn(path, ":");

		found = n ? sherd_asprintf("%.*s/sherd", n, path) : NULL;
		if (found && !access(found, X_OK))
			return found;
		free(found);
		path += n + (path[n] == ':');
	}
	return NULL;
}

/* What the child says on stderr: only its last line is kept. */
struct tail {
	char line[256], last[256];
	size_t len;
};

static void tail_add(struct tail *t, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] != '\n' && data[i] != '\r') {
			if (t->len < sizeof(t->line) - 1)
				t->line[t->len++] = data[i];
			continue;
		}
		t->line[t->len] = 0;
		if (t->len)
			strcpy(t->last, t->line);
		t->len = 0;
	}
}

static const char *tail_end(struct tail *t)
{
	tail_add(t, "\n", 1);
	return t->last;
}

/* Reads until the child closes its stderr; false when the time is up. */
static bool read_tail(int fd, double deadline, struct tail *t)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[4096];

	for (;;) {
		double left = deadline - sherd_now();
		ssize_t n;
		int ready;

		if (left <= 0)
			return false;
		ready = poll(&p, 1, (int)MIN(left * 1000 + 1, 3600e3));
		if (ready < 0 && errno != EINTR)
			return true;
		if (ready <= 0)
			continue;
		n = read(fd, buf, sizeof(buf));
		if (n > 0)
			tail_add(t, buf, n);
		else if (!n || errno != EINTR)
			return true;
	}
}

/* waitpid with a deadline: the child may have closed its stderr and hang on. False: time is up. */
static bool wait_child(pid_t pid, double deadline, int *status)
{
	for (;;) {
		pid_t got = waitpid(pid, status, WNOHANG);

		if (got == pid || (got < 0 && errno != EINTR))
			return true;
		if (sherd_now() > deadline)
			return false;
		usleep(2000);
	}
}

static int spawn(const char *command, char **argv, pid_t *pid, int *err_fd)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int pipe_fd[2];
	int ret;

	if (pipe2(pipe_fd, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, pipe_fd[1], 2);
	/* A group of its own: the driver's own children die with it. */
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
	ret = -posix_spawn(pid, command, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_fd[1]);
	if (ret)
		close(pipe_fd[0]);
	else
		*err_fd = pipe_fd[0];
	return ret;
}

static int judge(int status, const struct tail *tail, struct sherd_error *err)
{
	const char *colon = tail->last[0] ? ": " : "";

	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFSIGNALED(status))
		return sherd_fail(err, -EIO, "the device's test crashed (%s)%s%s",
				  strsignal(WTERMSIG(status)), colon, tail->last);
	return sherd_fail(err, -EIO, "the device's test failed (exit code %d)%s%s",
			  WEXITSTATUS(status), colon, tail->last);
}

int sherd_device_child(const char *const *argv_tail, double timeout_s, struct sherd_error *err)
{
	double deadline = sherd_now() + timeout_s;
	char *argv[MAX_ARGS + 3] = { "sherd", "device-test" };
	struct tail tail = { .len = 0 };
	char *command = find_command();
	int n = 2, err_fd = -1, status = 0;
	pid_t pid;
	int ret;

	if (!command)
		return sherd_fail(err, -ENOENT, "no sherd command beside this program, installed or in "
				  "PATH: the device is tested in this process");
	for (; argv_tail && argv_tail[n - 2]; n++) {
		if (n - 2 >= MAX_ARGS) {
			free(command);
			return sherd_fail(err, -E2BIG, "a device test has at most %d arguments",
					  MAX_ARGS);
		}
		argv[n] = (char *)argv_tail[n - 2];
	}
	ret = spawn(command, argv, &pid, &err_fd);
	if (ret) {
		ret = sherd_fail(err, ret, "%s: can't be started: %s", command, strerror(-ret));
		free(command);
		return ret;
	}
	free(command);
	if (read_tail(err_fd, deadline, &tail) && wait_child(pid, deadline, &status)) {
		tail_end(&tail);
		ret = judge(status, &tail, err);
	} else {
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
		tail_end(&tail);
		ret = sherd_fail(err, -ETIMEDOUT, "the device's test hung: ended after %.0f s%s%s",
				 timeout_s, tail.last[0] ? ": " : "", tail.last);
	}
	close(err_fd);
	return ret;
}
