/* SPDX-License-Identifier: MIT */
/*
 * The loop in narrow places: results that overflow, little memory to pin, no io_uring; and which
 * rung is taken.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "region/region.h"
#include "rig.h"

#define N_LINKS 40
#define N_ROUNDS 20
static struct end many[N_LINKS];

static void send_one(struct end *e)
{
	rig_send(e, 100, 1);
}

static void answer(struct end *e, const struct sherd_frame *f, const uint8_t *payload)
{
	assert_true(rig_is(payload, f->payload, f->session));
	if (e->frames <= N_ROUNDS)
		rig_send(e, rand() % 3000, e->frames);
}

static bool all_rounds(struct rig *r)
{
	int n = 0;

	for (int i = 0; i < N_LINKS; i++)
		n += many[i].frames;
	return n == N_LINKS * N_ROUNDS && rig_frames(r) == N_LINKS * (N_ROUNDS + 1);
}

static void results_that_overflow_are_not_lost(struct rig *r)
{
	memset(many, 0, sizeof(many));
	r->params.entries = 1;
	r->params.n_buffers = 2;
	r->params.buffer_size = 1024;
	r->params.max_strangers = N_LINKS;
	r->like.on_frame = answer;
	rig_start(r);
	for (int i = 0; i < N_LINKS; i++) {
		many[i].on_up = send_one;
		many[i].on_frame = answer;
		rig_dial(r, &many[i], r->at);
	}
	rig_run(r, all_rounds);
	rig_end(r);
}

static void two_megabytes(struct end *e)
{
	rig_send_kept(e, 2 << 20, 1);
	rig_send_kept(e, 2 << 20, 2);
}

static void a_payload_is_done_though_its_link_has_long_been_closed(struct rig *r)
{
	int fd;

	r->like.on_up = two_megabytes;
	r->params.hang_up_ms = 20;
	rig_start(r);
	fd = rig_connect(r);
	rig_run_ms(r, 10);
	sherd_link_hang_up(r->ends[0].link, "enough");
	rig_run(r, rig_first_is_down);
	rig_run_ms(r, 20);
	close(fd);
	rig_run_ms(r, 20);
	rig_end(r);
	assert_int_equal(r->n_done, 2);
}

/* In a child, which gives its rights away: what went wrong there is its exit code. */
static int in_child(struct rig *r, int (*fn)(struct rig *r))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid)
		_exit(fn(r));
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

static struct sherd_region *ring;
static int slot_done;

static void count_done(void *arg)
{
	++*(int *)arg;
}

static void send_slot(struct end *e)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_ROWS, .session = 3 };
	const struct sherd_payload p = { .data = ring->slots[1].data, .size = 1 << 20, .slot = 1,
					 .done = count_done, .arg = &slot_done };

	rig_fill(ring->slots[1].data, p.size, 3);
	e->r->net->ops->send(e->link, &f, &p);
}

static bool slot_has_arrived(struct rig *r)
{
	return r->n_ends && r->ends[0].frames == 1 && slot_done == 1;
}

static int with_little_memlock(struct rig *r)
{
	const struct rlimit little = { 256 << 10, 256 << 10 };

	if (sherd_ring_create(&ring, 4, 1 << 20, "plain", &r->err))
		return 1;
	if (setrlimit(RLIMIT_MEMLOCK, &little) || (!getuid() && setresuid(65534, 65534, 65534)))
		return 2;
	r->params.ring = ring;
	r->a.on_up = send_slot;
	r->like.on_frame = rig_check;
	rig_start(r);
	if (r->loop->io == SHERD_IO_URING_ZC && !strstr(r->loop->note.msg, "RLIMIT_MEMLOCK"))
		return 3;
	rig_dial(r, &r->a, r->at);
	rig_run(r, slot_has_arrived);
	rig_end(r);
	return slot_done == 1 ? 0 : 4;
}

static void with_little_memory_to_pin_slots_are_sent_all_the_same(struct rig *r)
{
	slot_done = 0;
	assert_int_equal(in_child(r, with_little_memlock), 0);
}

static int without_io_uring(struct rig *r)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { ARRAY_SIZE(code), code };
	const char *asked = r->io;
	int rc;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return 1;
	r->params.io = asked;
	rc = sherd_loop_create(&r->loop, &r->params, &r->err);
	if (strcmp(asked, "epoll") && (rc != -EPERM || !strstr(r->err.msg, "seccomp")))
		return 2;
	sherd_loop_free(r->loop);
	r->io = "auto";
	rig_start(r);
	if (r->loop->io != SHERD_IO_EPOLL)
		return 3;
	for (int i = 0; i < SHERD_IO_EPOLL; i++)
		if (!strstr(r->loop->refused[i].msg, "Operation not permitted"))
			return 4;
	rig_dial(r, &r->a, r->at);
	rig_run(r, rig_both_up);
	rig_end(r);
	return 0;
}

static void where_io_uring_is_forbidden_epoll_is_taken(struct rig *r)
{
	assert_int_equal(in_child(r, without_io_uring), 0);
}

static void the_best_rung_is_taken_or_the_one_that_is_named(struct rig *r)
{
	struct sherd_loop_params params = { .io = "auto" };
	struct sherd_loop *l;

	rig_start(r);
	assert_string_equal(sherd_io_name(r->loop->io), r->io);
	rig_end(r);
	assert_int_equal(sherd_loop_create(&l, &params, &r->err), 0);
	for (int i = 0; i < SHERD_N_IOS; i++)
		assert_int_equal(!!l->refused[i].msg[0], i < (int)l->io);
	sherd_loop_free(l);
	params.io = "uring-9";
	assert_int_equal(sherd_loop_create(&l, &params, &r->err), -EINVAL);
	ASSERT_SAYS(r->err, "\"uring-9\"");
	assert_false(sherd_io_known("uring-9"));
	assert_true(sherd_io_known(NULL) && sherd_io_known("auto") && sherd_io_known(r->io));
}

static const struct rig_case cases[] = {
	CASE(results_that_overflow_are_not_lost),
	CASE(a_payload_is_done_though_its_link_has_long_been_closed),
	CASE(with_little_memory_to_pin_slots_are_sent_all_the_same),
	CASE(where_io_uring_is_forbidden_epoll_is_taken),
	CASE(the_best_rung_is_taken_or_the_one_that_is_named),
};

int main(int argc, char **argv)
{
	return rig_run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
