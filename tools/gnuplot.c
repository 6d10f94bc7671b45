/* SPDX-License-Identifier: MIT */
/*
 * gnuplot: the script comes from a file without a name, and what it complains about goes to another, so
 * that neither of us waits for the other.
 */
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "gnuplot.h"

#define TIMEOUT_S 60

extern char **environ;

int gnuplot_find(struct sherd_error *err)
{
	char *file = sherd_find_command("gnuplot");
	bool found = file != NULL;

	free(file);
	if (found)
		return 0;
	return sherd_fail(err, -ENOENT,
			  "there is no gnuplot here to draw the picture (Debian: apt-get install "
			  "gnuplot-nox); a file that ends with .gp, .csv or .json needs none");
}

static int spawn(pid_t *pid, int in, int out, int complaints)
{
	char *argv[] = { "gnuplot", "-", NULL };
	posix_spawn_file_actions_t actions;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_adddup2(&actions, complaints, 2);
	rc = -posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* Its exit status, or -1: it was ended after so long a time. */
static int wait_for(pid_t pid)
{
	double deadline = sherd_now() + TIMEOUT_S;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (sherd_now() > deadline) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
		usleep(5000);
	}
	return status;
}

/* The last line that says something. */
static void complaint(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);
	char *line = buf, *p;

	buf[MAX(n, 0)] = 0;
	for (p = strtok(buf, "\n"); p; p = strtok(NULL, "\n"))
		if (strspn(p, " \t^") < strlen(p))
			line = p;
	memmove(buf, line, strlen(line) + 1);
}

int gnuplot_run(const char *script, int fd, struct sherd_error *err)
{
	int in = memfd_create("script", MFD_CLOEXEC), out = memfd_create("complaints", MFD_CLOEXEC);
	char why[400] = "";
	int rc = in < 0 || out < 0 ? -errno : 0, status;
	pid_t pid;

	if (!rc)
		rc = sherd_write_all(in, script, strlen(script), "gnuplot's script", err);
	if (!rc && lseek(in, 0, SEEK_SET))
		rc = -errno;
	if (!rc)
		rc = spawn(&pid, in, fd, out);
	if (rc) {
		rc = sherd_fail(err, rc, "gnuplot can't be started: %s", strerror(-rc));
		goto close;
	}
	status = wait_for(pid);
	complaint(out, why, sizeof(why));
	if (status)
		rc = sherd_fail(err, -EIO, "gnuplot %s%s%s",
				status < 0 ? "did not come to an end" : "failed", why[0] ? ": " : "", why);
close:
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return rc;
}
