/* SPDX-License-Identifier: MIT */
/*
 * The openssl command as a witness from outside: it speaks TLS 1.3 with our filter over a real
 * connection, as client and as server, with certificates that sherd cluster made.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "tls_rig.h"

#define PATIENCE_MS 20000

struct command {
	pid_t pid;
	int in, out; /* its standard input and output; errors go to the latter, too */
};

/* Runs openssl with @args and the certificate @name of ours. */
static void start(struct command *c, const char *verb, const char *option, const char *address,
		  const char *name)
{
	char cert[128], key[128], ca[128];
	int in[2], out[2];

	snprintf(cert, sizeof(cert), "%s/%s.pem", ours, name);
	snprintf(key, sizeof(key), "%s/%s-key.pem", ours, name);
	snprintf(ca, sizeof(ca), "%s/ca.pem", ours);
	assert_int_equal(pipe(in) | pipe(out), 0);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (!c->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execlp("openssl", "openssl", verb, option, address, "-cert", cert, "-key", key,
		       "-CAfile", ca, "-verify", "3", "-verify_return_error", "-tls1_3", NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	c->in = in[1];
	c->out = out[0];
}

static void stop(struct command *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->in);
	close(c->out);
}

/* Moves what one side has for the other; false when the connection has ended. */
static bool turn(struct sherd_tls *t, int fd, char *got, size_t room)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct sherd_error err = { "" };
	uint8_t bytes[4096];
	const uint8_t *front;
	size_t used = strlen(got), n;
	ssize_t r;

	while ((n = sherd_tls_pending(t, &front))) {
		r = send(fd, front, n, MSG_NOSIGNAL);
		if (r <= 0)
			return false;
		sherd_tls_sent(t, (size_t)r);
	}
	if (poll(&p, 1, 100) == 0)
		return true;
	r = recv(fd, bytes, sizeof(bytes), 0);
	if (r < 0 || sherd_tls_feed(t, bytes, (size_t)r, &err))
		fail_msg("%s", r < 0 ? strerror(errno) : err.msg);
	while ((n = room - 1 - used) && (r = sherd_tls_read(t, got + used, n, &err)) > 0)
		used += (size_t)r;
	got[used] = '\0';
	if (r < 0 && r != -EPIPE)
		fail_msg("%s", err.msg);
	return r != -EPIPE;
}

/* The line with @word, whole. */
static void read_until(struct command *c, const char *word, char *text, size_t room)
{
	const char *found = NULL;
	size_t used = 0;
	ssize_t r = 0;

	text[0] = '\0';
	while ((!found || !strchr(found, '\n')) && used < room - 1 &&
	       (r = read(c->out, text + used, room - 1 - used)) > 0) {
		used += (size_t)r;
		text[used] = '\0';
		found = strstr(text, word);
	}
	if (!found)
		fail_msg("openssl did not say \"%s\", but: %s", word, text);
}

static bool there_is_openssl(void)
{
	return !system("openssl version >/dev/null 2>&1");
}

static int listen_somewhere(char address[32])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(address, 32, "127.0.0.1:%d", ntohs(a.sin_port));
	return fd;
}

/* A word each way through @t and @fd; the other end is @c. */
static void talk(struct sherd_tls *t, int fd, struct command *c)
{
	char got[256] = "", text[20000];
	struct sherd_error err;

	for (int i = 0; i < PATIENCE_MS / 100 && !sherd_tls_done(t); i++)
		assert_true(turn(t, fd, got, sizeof(got)));
	assert_true(sherd_tls_done(t));
	assert_int_equal(write(c->in, "a word from openssl\n", 20), 20);
	assert_int_equal(sherd_tls_write(t, "a word from us\n", 15, &err), 0);
	for (int i = 0; i < PATIENCE_MS / 100 && !strchr(got, '\n'); i++)
		assert_true(turn(t, fd, got, sizeof(got)));
	assert_string_equal(got, "a word from openssl\n");
	read_until(c, "a word from us", text, sizeof(text));
	assert_int_equal(sherd_tls_close(t), 0);
	turn(t, fd, got, sizeof(got));
}

static void openssls_client_speaks_with_our_server(void **state)
{
	struct sherd_tls_ctx *ctx = open_ctx(ours, "kitchen");
	struct sherd_error err;
	struct sherd_tls *t;
	struct command c;
	char address[32];
	int listener, fd;

	(void)state;
	if (!there_is_openssl())
		skip();
	listener = listen_somewhere(address);
	start(&c, "s_client", "-connect", address, "head");
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(sherd_tls_new(&t, ctx, true, "head", &err), 0);
	talk(t, fd, &c);
	assert_string_equal(sherd_tls_identity(t), "head");
	stop(&c);
	close(fd);
	close(listener);
	sherd_tls_free(t);
	sherd_tls_ctx_free(ctx);
}

static int dial(const char *said)
{
	const char *port = strstr(said, "ACCEPT 127.0.0.1:");
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_non_null(port);
	a.sin_port = htons((uint16_t)atoi(port + strlen("ACCEPT 127.0.0.1:")));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void openssls_server_speaks_with_our_client(void **state)
{
	struct sherd_tls_ctx *ctx = open_ctx(ours, "head");
	char said[20000];
	struct sherd_error err;
	struct sherd_tls *t;
	struct command c;
	int fd;

	(void)state;
	if (!there_is_openssl())
		skip();
	start(&c, "s_server", "-accept", "127.0.0.1:0", "kitchen");
	read_until(&c, "ACCEPT 127.0.0.1:", said, sizeof(said));
	fd = dial(said);
	assert_int_equal(sherd_tls_new(&t, ctx, false, "kitchen", &err), 0);
	talk(t, fd, &c);
	assert_string_equal(sherd_tls_identity(t), "kitchen");
	stop(&c);
	close(fd);
	sherd_tls_free(t);
	sherd_tls_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssls_client_speaks_with_our_server),
		cmocka_unit_test(openssls_server_speaks_with_our_client),
	};

	if (!there_is_openssl())
		printf("skipped: there is no openssl command here\n");
	return cmocka_run_group_tests(tests, make_clusters, scratch_remove);
}
