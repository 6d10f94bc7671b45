/* SPDX-License-Identifier: MIT */
/*
 * hop: what a frame's way from one process to the next costs above the bare network. Two threads, a
 * core each, hand a frame of 4,416 bytes to and fro: first by send() and recv() on a bare socket,
 * then by a loop on each rung, in rounds whose order turns, so that the machine's moods meet them
 * all. Prints medians of one way.
 *
 *	hop [ROUNDS [PAYLOAD]]
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/ca.h"
#include "net/loop.h"
#include "net/tls.h"

#define N_PINGS	   2000
#define MAX_ROUNDS 64
#define BARE	   SHERD_N_IOS
#define TLS	   (SHERD_N_IOS + 1) /* on the best rung */
#define N_KINDS	   (SHERD_N_IOS + 2)

struct bench {
	uint32_t payload;
	uint8_t *data;
	double us[N_PINGS];
	int n;
	double start;
	cpu_set_t cores;
	/* loops */
	struct sherd_loop *there, *here;
	char at[64];
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double quantile(double *v, int n, double q)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(int)(q * (n - 1))];
}

/* To the @core-th of the cores that this process had in the beginning. */
static void pin(const cpu_set_t *all, int core)
{
	cpu_set_t set;

	for (int c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, all) && core-- == 0) {
			CPU_ZERO(&set);
			CPU_SET(c, &set);
			sched_setaffinity(0, sizeof(set), &set);
			return;
		}
}

static void die(const char *what)
{
	fprintf(stderr, "hop: %s\n", what);
	exit(1);
}

/* --------------------------------------------------------------------- bare */

static void pass(int fd, uint8_t *data, size_t n, bool out)
{
	ssize_t did;

	for (size_t i = 0; i < n; i += did) {
		did = out ? send(fd, data + i, n - i, MSG_NOSIGNAL) : recv(fd, data + i, n - i, 0);
		if (did <= 0)
			die("the bare socket failed");
	}
}

static void *bare_echo(void *arg)
{
	struct bench *b = arg;
	size_t n = sherd_frame_size(b->payload);
	uint8_t *data = malloc(n);
	int one = 1, listener = b->n, fd;

	pin(&b->cores, 1);
	fd = accept(listener, NULL, NULL);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < N_PINGS; i++) {
		pass(fd, data, n, false);
		pass(fd, data, n, true);
	}
	close(fd);
	free(data);
	return NULL;
}

static void run_bare(struct bench *b)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	size_t n = sherd_frame_size(b->payload);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0),
	    one = 1;
	socklen_t len = sizeof(a);
	pthread_t thread;

	if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &len))
		die("no socket to listen at");
	b->n = listener;
	pthread_create(&thread, NULL, bare_echo, b);
	if (connect(fd, (struct sockaddr *)&a, len))
		die("no connection");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < N_PINGS; i++) {
		double start = sherd_now();

		pass(fd, b->data, n, true);
		pass(fd, b->data, n, false);
		b->us[i] = (sherd_now() - start) * 1e6;
	}
	pthread_join(thread, NULL);
	close(fd);
	close(listener);
}

/* -------------------------------------------------------------------- loops */

static void ping(struct bench *b, struct sherd_link *l)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_ROWS };

	b->start = sherd_now();
	sherd_link_send(l, &f, b->data, b->payload);
}

static void on_up(void *ctx, struct sherd_link *l)
{
	ping(ctx, l);
}

static void echo_up(void *ctx, struct sherd_link *l)
{
	(void)ctx, (void)l;
}

static int on_expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     struct sherd_error *err)
{
	(void)ctx, (void)l, (void)f, (void)err;
	return 0;
}

static void on_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     const uint8_t *payload)
{
	struct bench *b = ctx;

	(void)f, (void)payload;
	b->us[b->n++] = (sherd_now() - b->start) * 1e6;
	if (b->n < N_PINGS)
		ping(b, l);
	else
		sherd_link_hang_up(l, "done");
}

static void echo_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		       const uint8_t *payload)
{
	(void)ctx;
	sherd_link_send(l, f, payload, f->payload);
}

static void on_down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct bench *b = ctx;

	(void)why;
	sherd_loop_stop(l->net == &b->here->net ? b->here : b->there);
}

static const struct sherd_link_user pinger = { on_up, on_expect, on_frame, on_down };
static const struct sherd_link_user echoer = { echo_up, on_expect, echo_frame, on_down };

static void on_accepted(void *ctx, struct sherd_link *l)
{
	l->user = &echoer;
	l->ctx = ctx;
}

static void *loop_echo(void *arg)
{
	struct bench *b = arg;

	pin(&b->cores, 1);
	sherd_loop_run(b->there, NULL);
	sherd_loop_free(b->there);
	return NULL;
}

static bool run_loops(struct bench *b, const char *io, struct sherd_tls_ctx *tls)
{
	struct sherd_loop_params params = { .io = io, .tls = tls };
	struct sherd_error err;
	struct sherd_link *l;
	pthread_t thread;

	b->n = 0;
	if (sherd_loop_create(&b->here, &params, &err))
		return false;
	if (sherd_loop_create(&b->there, &params, &err) ||
	    sherd_loop_listen(b->there, "127.0.0.1:0", b->at, &err))
		die(err.msg);
	b->there->net.accepted = on_accepted;
	b->there->net.accepted_ctx = b;
	pthread_create(&thread, NULL, loop_echo, b);
	if (b->here->net.ops->dial(&b->here->net, b->at, NULL, &pinger, b, &l, &err) ||
	    sherd_loop_run(b->here, &err))
		die(err.msg);
	pthread_join(thread, NULL);
	sherd_loop_free(b->here);
	return b->n == N_PINGS;
}

/* Certificates of a cluster that lives as long as the program. */
static struct sherd_tls_ctx *make_tls(void)
{
	static const char *const names[] = { "here" };
	static const char *const files[] = { "ca.pem", "here.pem", "here-key.pem", "ca-key.pem" };
	char dir[] = "/tmp/sherd-hop-XXXXXX", cluster[64], path[4][96];
	struct sherd_tls_ctx *ctx;
	struct sherd_error err;

	if (!mkdtemp(dir))
		die("no folder for certificates");
	snprintf(cluster, sizeof(cluster), "%s/cluster", dir);
	for (int i = 0; i < 4; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%s", cluster, files[i]);
	if (sherd_ca_init(cluster, names, 1, 1, &err) ||
	    sherd_tls_ctx_new(&ctx, path[0], path[1], path[2], &err))
		die(err.msg);
	for (int i = 0; i < 4; i++)
		unlink(path[i]);
	rmdir(cluster);
	rmdir(dir);
	return ctx;
}

static bool run(struct bench *b, int kind, struct sherd_tls_ctx *tls)
{
	if (kind == TLS)
		return run_loops(b, NULL, tls);
	if (kind != BARE)
		return run_loops(b, sherd_io_name(kind), NULL);
	run_bare(b);
	return true;
}

int main(int argc, char **argv)
{
	static struct bench b;
	static double median[N_KINDS][MAX_ROUNDS], p99[N_KINDS][MAX_ROUNDS];
	int rounds = argc > 1 ? atoi(argv[1]) : 7, n[N_KINDS] = { 0 };
	struct sherd_tls_ctx *tls = make_tls();

	b.payload = argc > 2 ? (uint32_t)atoi(argv[2]) : 4416;
	b.data = sherd_calloc(1, sherd_frame_size(b.payload));
	if (!b.data || rounds < 1 || rounds > MAX_ROUNDS)
		die("usage: hop [ROUNDS [PAYLOAD]]");
	sched_getaffinity(0, sizeof(b.cores), &b.cores);
	pin(&b.cores, 0);
	for (int r = 0; r < rounds; r++)
		for (int i = 0; i < N_KINDS; i++) {
			int kind = r % 2 ? N_KINDS - 1 - i : i;

			if (!run(&b, kind, tls))
				continue;
			median[kind][n[kind]] = quantile(b.us, N_PINGS, 0.5) / 2;
			p99[kind][n[kind]++] = quantile(b.us, N_PINGS, 0.99) / 2;
		}
	printf("%u bytes of payload, one way, us; median of %d rounds' (from - to)\n", b.payload,
	       rounds);
	for (int k = 0; k < N_KINDS; k++) {
		double middle = n[k] ? quantile(median[k], n[k], 0.5) : 0;

		if (n[k])
			printf("%-12s median %6.1f  p99 %7.1f  (%.1f - %.1f)\n",
			       k == BARE ? "bare socket" :
			       k == TLS	 ? "TLS" :
					   sherd_io_name(k),
			       middle, quantile(p99[k], n[k], 0.5), median[k][0],
			       median[k][n[k] - 1]);
	}
	sherd_tls_ctx_free(tls);
	return 0;
}
