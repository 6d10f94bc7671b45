/* SPDX-License-Identifier: MIT */
/*
 * pty: a person at a terminal, for the tests of the command. Runs a command on a pseudo-terminal
 * and does what standard input says, a step a line:
 *
 *	wait TEXT	until this has come, behind what was waited for before
 *	send TEXT	type it
 *
 * with \r, \n, \e, \\ and \xHH in texts. Then the terminal hangs up, or the command has ended. All that
 * came goes to standard output; the exit code is the command's, or 99 if something did not come.
 *
 *	pty COMMAND ARG... <STEPS
 */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S 90

static char came[1 << 20];
static size_t n_came, seen; /* bytes that came, and of these: behind what was waited for */
static bool ended;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* What comes within so many milliseconds. */
static void take(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (ended || poll(&p, 1, ms) < 1)
		return;
	n = read(fd, came + n_came, sizeof(came) - 1 - n_came);
	if (n <= 0)
		ended = true; /* EIO: the other side has been closed */
	else
		n_came += (size_t)n;
}

static bool wait_for(int fd, const char *text)
{
	double end = now() + WAIT_S;
	char *hit;

	for (;;) {
		hit = memmem(came + seen, n_came - seen, text, strlen(text));
		if (hit) {
			seen = (size_t)(hit - came) + strlen(text);
			return true;
		}
		if (ended || now() > end)
			return false;
		take(fd, 100);
	}
}

static void type(int fd, const char *text)
{
	size_t n = strlen(text), done = 0;

	while (done < n && !ended) {
		ssize_t k = write(fd, text + done, n - done);

		if (k < 0 && errno != EINTR && errno != EAGAIN)
			return;
		done += k > 0 ? (size_t)k : 0;
		take(fd, 0);
	}
}

static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		char hex[3] = { 0 };

		if (*s != '\\') {
			*to++ = *s;
			continue;
		}
		switch (*++s) {
		case 'r':
			*to++ = '\r';
			break;
		case 'n':
			*to++ = '\n';
			break;
		case 'e':
			*to++ = '\033';
			break;
		case 'x':
			memcpy(hex, s + 1, 2);
			*to++ = (char)strtol(hex, NULL, 16);
			s += 2;
			break;
		default:
			*to++ = *s;
		}
	}
	*to = '\0';
}

static bool act(int fd, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	unescape(line);
	if (!strncmp(line, "send ", 5)) {
		type(fd, line + 5);
		return true;
	}
	if (!strncmp(line, "wait ", 5) && wait_for(fd, line + 5))
		return true;
	fprintf(stderr, "pty: did not come: %s\n", line);
	return false;
}

int main(int argc, char **argv)
{
	struct winsize size = { .ws_row = 24, .ws_col = 200 };
	char line[4096];
	bool good = true;
	int fd, status;
	pid_t pid;

	if (argc < 2)
		return 2;
	pid = forkpty(&fd, NULL, NULL, &size);
	if (!pid) {
		/* who runs the tests in the background has them ignored */
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	while (pid > 0 && good && fgets(line, sizeof(line), stdin))
		good = act(fd, line);
	for (double end = now() + WAIT_S; good && !ended && now() < end;)
		take(fd, 100);
	close(fd); /* who still lives is hung up on */
	fwrite(came, 1, n_came, stdout);
	if (waitpid(pid, &status, 0) != pid || !good)
		return 99;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
