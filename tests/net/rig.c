/* SPDX-License-Identifier: MIT */
/* rig: see rig.h. Nothing here depends on the rung. */
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>
#include "net/io.h"
#include "rig.h"

int rig_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 2000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

void rig_fill(uint8_t *to, uint32_t size, uint32_t seed)
{
	uint32_t x = seed * 2654435761u + 1;

	for (uint32_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		to[i] = x >> 24;
	}
}

bool rig_is(const uint8_t *p, uint32_t size, uint32_t seed)
{
	uint32_t x = seed * 2654435761u + 1;

	for (uint32_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		if (p[i] != x >> 24)
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------- callbacks */

static void on_up(void *ctx, struct sherd_link *l)
{
	struct end *e = ctx;

	assert_ptr_equal(l, e->link);
	assert_int_equal(e->up++, 0);
	if (e->on_up)
		e->on_up(e);
}

static int on_expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     struct sherd_error *err)
{
	struct end *e = ctx;

	assert_ptr_equal(l, e->link);
	assert_int_equal(e->up, 1);
	return e->on_expect ? e->on_expect(e, f, err) : 0;
}

static void on_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     const uint8_t *payload)
{
	struct end *e = ctx;

	assert_ptr_equal(l, e->link);
	assert_int_equal((uintptr_t)payload % SHERD_FRAME_ALIGN, 0);
	assert_int_equal(f->sequence, e->frames);
	e->frames++;
	if (e->on_frame)
		e->on_frame(e, f, payload);
}

static void on_down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct end *e = ctx;

	assert_ptr_equal(l, e->link);
	assert_int_equal(e->down++, 0);
	assert_true(why->msg[0]);
	assert_null(strchr(why->msg, '\n'));
	e->why = *why;
	e->zero_copies = l->zero_copies;
	e->copies = l->copies;
	if (e->on_down)
		e->on_down(e);
	e->link = NULL;
}

static const struct sherd_link_user user = {
	.up = on_up, .expect = on_expect, .frame = on_frame, .down = on_down
};

static void on_accepted(void *ctx, struct sherd_link *l)
{
	struct rig *r = ctx;
	struct end *e = &r->ends[r->n_ends++];

	assert_in_range(r->n_ends, 1, MAX_ENDS);
	assert_true(l->address[0]);
	*e = r->like;
	e->r = r;
	e->link = l;
	l->user = &user;
	l->ctx = e;
	if (r->on_accepted)
		r->on_accepted(e);
}

/* --------------------------------------------------------------- from end to end */

void rig_start(struct rig *r)
{
	r->params.io = r->io;
	if (sherd_loop_create(&r->loop, &r->params, &r->err))
		fail_msg("%s", r->err.msg);
	r->net = &r->loop->net;
	r->net->accepted = on_accepted;
	r->net->accepted_ctx = r;
	assert_int_equal(sherd_loop_listen(r->loop, "127.0.0.1:0", r->at, &r->err), 0);
}

void rig_end(struct rig *r)
{
	sherd_loop_free(r->loop);
	r->loop = NULL;
	for (int i = 0; i < r->n_ends; i++)
		assert_int_equal(r->ends[i].down, 1);
}

void rig_dial(struct rig *r, struct end *e, const char *address)
{
	e->r = r;
	if (r->net->ops->dial(r->net, address, NULL, &user, e, &e->link, &r->err))
		fail_msg("%s", r->err.msg);
	assert_int_equal(e->up + e->down, 0);
}

static void on_tick(void *ctx)
{
	struct rig *r = ctx;

	r->late = sherd_net_now(r->net) > r->limit;
	if (r->late || (r->until && r->until(r)))
		sherd_loop_stop(r->loop);
	else
		sherd_timer_after(r->net, &r->tick, 500);
}

static void run(struct rig *r, bool (*until)(struct rig *r), uint64_t us)
{
	r->until = until;
	r->limit = sherd_net_now(r->net) + us;
	r->tick = (struct sherd_timer){ .fire = on_tick, .ctx = r };
	sherd_timer_after(r->net, &r->tick, 1);
	if (sherd_loop_run(r->loop, &r->err))
		fail_msg("%s", r->err.msg);
}

void rig_run(struct rig *r, bool (*until)(struct rig *r))
{
	run(r, until, 30000000);
	if (r->late)
		fail_msg("it has not happened within 30 s");
}

void rig_run_ms(struct rig *r, unsigned ms)
{
	run(r, NULL, ms * (uint64_t)1000);
}

bool rig_a_is_down(struct rig *r)
{
	return r->a.down;
}

bool rig_first_is_down(struct rig *r)
{
	return r->n_ends && r->ends[0].down;
}

bool rig_both_up(struct rig *r)
{
	return r->a.up && r->n_ends && r->ends[0].up;
}

bool rig_both_down(struct rig *r)
{
	return r->a.down && rig_first_is_down(r);
}

bool rig_none_is_left(struct rig *r)
{
	return !r->loop->n_links;
}

int rig_frames(const struct rig *r)
{
	int n = 0;

	for (int i = 0; i < r->n_ends; i++)
		n += r->ends[i].frames;
	return n;
}

/* ------------------------------------------------------------------- frames */

void rig_check(struct end *e, const struct sherd_frame *f, const uint8_t *payload)
{
	(void)e;
	assert_int_equal(f->type, SHERD_FRAME_ROWS);
	assert_true(rig_is(payload, f->payload, f->session));
}


void rig_send(struct end *e, uint32_t size, uint32_t seed)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_ROWS, .session = seed };
	uint8_t *data = malloc(size + 1);

	rig_fill(data, size, seed);
	sherd_link_send(e->link, &f, data, size);
	free(data);
}

struct kept {
	struct rig *r;
	uint8_t data[];
};

static void done(void *arg)
{
	struct kept *k = arg;

	k->r->n_done++;
	memset(k->data, 0xee, 1); /* whoever still reads it sends nonsense */
	free(k);
}

void rig_send_kept(struct end *e, uint32_t size, uint32_t seed)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_ROWS, .session = seed };
	struct kept *k = malloc(sizeof(*k) + size + 1);
	const struct sherd_payload p = {
		.data = k->data, .size = size, .slot = -1, .done = done, .arg = k
	};
	int before = e->r->n_done;

	k->r = e->r;
	rig_fill(k->data, size, seed);
	e->r->net->ops->send(e->link, &f, &p);
	assert_int_equal(e->r->n_done, before);
}

size_t rig_frame(uint8_t *out, uint64_t sequence, uint32_t size, uint32_t seed)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_ROWS, .session = seed };
	size_t pad;

	rig_fill(out + SHERD_FRAME_HEADER, size, seed);
	pad = sherd_frame_stamp(&f, sequence, out + SHERD_FRAME_HEADER, size, out);
	memset(out + SHERD_FRAME_HEADER + size, 0, pad);
	return SHERD_FRAME_HEADER + size + pad;
}

/* -------------------------------------------------------------- raw sockets */

int rig_connect(const struct rig *r)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(atoi(strrchr(r->at, ':') + 1)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		rc = errno;
		close(fd);
		errno = rc;
		return -1;
	}
	return fd;
}

bool rig_write(int fd, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent < 0)
			return false;
		p += sent;
		n -= sent;
	}
	return true;
}

int rig_read_end(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char room[4096];
	ssize_t n;

	do {
		if (poll(&p, 1, 20000) != 1)
			return -ETIMEDOUT;
		n = recv(fd, room, sizeof(room), 0);
	} while (n > 0);
	return n < 0 ? -errno : 0;
}

/* -------------------------------------------------------------------- cases */

struct rung_case {
	const struct rig_case *c;
	const char *io;
	pid_t pid; /* the tests'; a child of theirs that fails runs no others */
};

static void run_case(void **state)
{
	const struct rung_case *rc = *state;
	struct rig *r = calloc(1, sizeof(*r));
	struct sherd_loop_params params = { .io = rc->io };

	if (getpid() != rc->pid)
		_exit(RIG_CHILD_FAILED);
	r->io = rc->io;
	if (sherd_loop_create(&r->loop, &params, &r->err)) {
		print_message("skipped: %s\n", r->err.msg);
		free(r);
		skip();
	}
	sherd_loop_free(r->loop);
	r->loop = NULL;
	r->fds = rig_fds();
	rc->c->run(r);
	assert_null(r->loop);
	assert_int_equal(rig_fds(), r->fds);
	free(r);
}

static char *title(const struct rung_case *rc)
{
	return sherd_asprintf("%s_on_%s", rc->c->name, rc->io);
}

int rig_run_cases(int argc, char **argv, const struct rig_case *cases, int n)
{
	struct rung_case *all = calloc(n * SHERD_N_IOS, sizeof(*all));
	struct CMUnitTest *tests = calloc(n * SHERD_N_IOS, sizeof(*tests));
	unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
	int rc, n_tests = 0;

	if (getenv("SHERD_SEED"))
		seed = (unsigned)atoi(getenv("SHERD_SEED"));
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	print_message("# seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < n; i++)
		for (int io = 0; io < SHERD_N_IOS; io++, n_tests++) {
			all[n_tests] = (struct rung_case){ &cases[i], sherd_io_name(io), getpid() };
			tests[n_tests] = (struct CMUnitTest){ .name = title(&all[n_tests]),
							      .test_func = run_case,
							      .initial_state = &all[n_tests] };
		}
	rc = _cmocka_run_group_tests("loop", tests, n_tests, NULL, NULL);
	if (getpid() != all[0].pid)
		_exit(RIG_CHILD_FAILED);
	for (int i = 0; i < n_tests; i++)
		free((char *)tests[i].name);
	free(tests);
	free(all);
	return rc;
}
