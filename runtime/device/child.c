/* SPDX-License-Identifier: MIT */
/*
 * child: runs `sherd device-test` as a process of its own. Drivers crash and hang, and PoCL's
 * compiler stays in memory once it was used: let that happen to somebody else first. A fork
 * without exec would not do: drivers don't survive it.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "device/query.h"

#define MAX_ARGS 32
#define CHILD	 "SHERD_DEVICE_TEST" /* in a child's environment */
#define TEXT_MAX (64 << 10)
#define LOOK_MS	 100 /* so often it is looked whether a child that says nothing is still there */

bool sherd_device_is_child(void)
{
	return getenv(CHILD) != NULL;
}

double sherd_device_patience(double seconds)
{
	const char *text = getenv("SHERD_DEVICE_TIMEOUT");
	double wish = text ? atof(text) : 0;

	return wish > 0 ? wish : seconds;
}

/* This program, if it is sherd; else the installed one; else what PATH has. Free it. */
static char *find_command(void)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *base;

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
	return sherd_find_command("sherd");
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

/* A child's stdout, if anybody wants it, and the end of its stderr. */
struct child {
	pid_t pid;
	int fd[2]; /* read ends: stderr, stdout; -1 when closed */
	int stop; /* readable: the child is to end; -1: nobody says so */
	struct tail tail;
	char *text;
	size_t len;
};

static void take(struct child *c, int which, const char *data, size_t size)
{
	if (!which) {
		tail_add(&c->tail, data, size);
	} else if (c->text && size < TEXT_MAX - c->len) {
		memcpy(c->text + c->len, data, size);
		c->len += size;
		c->text[c->len] = 0;
	}
}

static void end_pipe(struct child *c, int which)
{
	if (c->fd[which] >= 0)
		close(c->fd[which]);
	c->fd[which] = -1;
}

/* What is there. */
static void read_pipe(struct child *c, int which)
{
	char buf[4096];
	ssize_t n = read(c->fd[which], buf, sizeof(buf));

	if (n > 0)
		take(c, which, buf, (size_t)n);
	else if (!n || errno != EINTR)
		end_pipe(c, which);
}

/*
 * Has it ended? Nobody asks how, so that its number stays its own. -ECHILD: somebody else, or nobody
 * (SIGCHLD ignored), knows how it ended.
 */
static int has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT))
		return errno == EINTR ? 0 : -errno;
	return info.si_pid == pid;
}

/* How long to wait for more of it. */
static int next_ms(double deadline, bool ended)
{
	double left = deadline - sherd_now();

	return ended || left <= 0 ? 0 : (int)MIN(left * 1000 + 1, LOOK_MS);
}

/*
 * Reads until the child closes its ends, or has ended - somebody whom it has started may keep them
 * open - or until the time is up or it is to stop.
 */
static int read_child(struct child *c, double deadline)
{
	while (c->fd[0] >= 0 || c->fd[1] >= 0) {
		struct pollfd p[3] = { { c->fd[0], POLLIN, 0 }, { c->fd[1], POLLIN, 0 },
				       { c->stop, POLLIN, 0 } };
		bool ended = has_ended(c->pid); /* before: then all that it has said is there */
		int n = poll(p, 3, next_ms(deadline, ended));

		if ((n < 0 && errno != EINTR) || (!n && ended))
			return 0;
		if (sherd_now() >= deadline)
			return -ETIMEDOUT;
		if (n > 0 && p[2].revents)
			return -ECANCELED;
		for (int i = 0; i < 2 && n > 0; i++)
			if (c->fd[i] >= 0 && p[i].revents)
				read_pipe(c, i);
	}
	return 0;
}

/* What the child has started goes first: as long as nobody asked how it ended, its group is its own. */
static int end_group(pid_t pid, int *status)
{
	kill(-pid, SIGKILL);
	return waitpid(pid, status, 0) == pid ? 0 : -errno;
}

/* waitpid with a deadline: the child may have closed its stderr and hang on. -ECHILD: as has_ended(). */
static int wait_child(pid_t pid, double deadline, int *status)
{
	for (;;) {
		int ended = has_ended(pid);

		if (ended)
			return ended < 0 ? ended : end_group(pid, status);
		if (sherd_now() > deadline)
			return -ETIMEDOUT;
		usleep(2000);
	}
}

static int open_pipes(struct child *c, int write_fd[2])
{
	int p[2];

	c->fd[0] = c->fd[1] = write_fd[0] = write_fd[1] = -1;
	for (int i = 0; i < (c->text ? 2 : 1); i++) {
		if (pipe2(p, O_CLOEXEC))
			return -errno;
		c->fd[i] = p[0];
		write_fd[i] = p[1];
	}
	return 0;
}

static int spawn(struct child *c, const char *command, char **argv)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int write_fd[2];
	int ret = open_pipes(c, write_fd);
	char **env = sherd_pocl_child_environ(CHILD "=1");

	if (!ret && !env)
		ret = -ENOMEM;
	if (ret)
		goto close_writers;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, write_fd[0], 2);
	if (c->text)
		posix_spawn_file_actions_adddup2(&actions, write_fd[1], 1);
	else
		posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	/* A group of its own: the driver's own children die with it. */
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
	ret = -posix_spawn(&c->pid, command, &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
close_writers:
	free(env);
	for (int i = 0; i < 2; i++)
		if (write_fd[i] >= 0)
			close(write_fd[i]);
	return ret;
}

/*
 * Signals that a driver earns itself; the others come from a person, or from a kernel without
 * memory.
 */
static bool is_crash(int sig)
{
	return sig == SIGSEGV || sig == SIGABRT || sig == SIGILL || sig == SIGBUS ||
	       sig == SIGFPE || sig == SIGSYS || sig == SIGTRAP;
}

static int judge(int status, const struct tail *tail, struct sherd_error *err)
{
	const char *colon = tail->last[0] ? ": " : "";
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0, code = WEXITSTATUS(status);

	if (!sig && !code)
		return 0;
	if (sig && is_crash(sig))
		return sherd_fail(err, -EBADE, "the device's test crashed (%s)%s%s",
				  strsignal(sig), colon, tail->last);
	if (sig)
		return sherd_fail(err, -EIO, "the device's test was ended from outside (%s%s)%s%s",
				  strsignal(sig),
				  sig == SIGKILL ? ", as a kernel does that is short of memory" : "",
				  colon, tail->last);
	if (code == SHERD_DEVICE_TEST_FAILS)
		return sherd_fail(err, -EBADE, "the device's test failed%s%s", colon, tail->last);
	return sherd_fail(err, -EIO, "the device's test could not be done (exit code %d)%s%s", code,
			  colon, tail->last);
}

/* Waits for the child, at most until @deadline; ends it then. */
static int finish(struct child *c, double timeout_s, double deadline, struct sherd_error *err)
{
	int status = 0;
	int ret = read_child(c, deadline);

	if (!ret)
		ret = wait_child(c->pid, deadline, &status);
	if (!ret) {
		tail_end(&c->tail);
		return judge(status, &c->tail, err);
	}
	if (ret != -ETIMEDOUT && ret != -ECANCELED)
		return sherd_fail(
			err, -EIO,
			"the device's test has ended, nobody knows how (%s): this process "
			"must not ignore SIGCHLD",
			strerror(-ret));
	end_group(c->pid, &status);
	tail_end(&c->tail);
	if (ret == -ECANCELED)
		return sherd_fail(err, ret, "the device's test was called off");
	return sherd_fail(err, -ETIMEDOUT, "the device's test hung: ended after %g s%s%s",
			  timeout_s, c->tail.last[0] ? ": " : "", c->tail.last);
}

static int make_argv(char *argv[MAX_ARGS + 3], const char *const *tail, struct sherd_error *err)
{
	int n = 0;

	argv[0] = "sherd";
	argv[1] = "device-test";
	for (; tail && tail[n]; n++) {
		if (n == MAX_ARGS)
			return sherd_fail(err, -E2BIG, "a device test has at most %d arguments",
					  MAX_ARGS);
		argv[n + 2] = (char *)tail[n]; /* posix_spawn() does not write to them */
	}
	argv[n + 2] = NULL;
	return 0;
}

static int run_child(struct child *c, const char *const *argv_tail, double timeout_s,
		     struct sherd_error *err)
{
	char *argv[MAX_ARGS + 3];
	char *command;
	double deadline;
	int ret = make_argv(argv, argv_tail, err);

	if (ret)
		return ret;
	deadline = sherd_now() + timeout_s;
	command = find_command();
	if (!command)
		return sherd_fail(err, -ENOENT,
				  "no sherd command beside this program, installed or in "
				  "PATH: the device can't be tested in a process of its own");
	ret = spawn(c, command, argv);
	if (ret)
		/* Not -ENOENT: that means "there is none", and this one was there. */
		ret = sherd_fail(err, -EIO, "%s: can't be started: %s", command, strerror(-ret));
	else
		ret = finish(c, timeout_s, deadline, err);
	end_pipe(c, 0);
	end_pipe(c, 1);
	free(command);
	return ret;
}

int sherd_device_child(const char *const *argv_tail, double timeout_s, struct sherd_error *err)
{
	struct child c = { .stop = -1 };

	return run_child(&c, argv_tail, timeout_s, err);
}

int sherd_device_child_text(const char *const *argv_tail, double timeout_s, int stop, char **text,
			    struct sherd_error *err)
{
	struct child c = { .text = sherd_calloc(TEXT_MAX, 1), .stop = stop };
	int ret;

	*text = NULL;
	if (!c.text)
		return sherd_fail_oom(err, TEXT_MAX, "a device test's output");
	ret = run_child(&c, argv_tail, timeout_s, err);
	if (ret)
		free(c.text);
	else
		*text = c.text;
	return ret;
}
