/* SPDX-License-Identifier: MIT */
/* Frames over real sockets: they arrive whole, in order and once, however they are cut. */
#include <linux/tcp.h>
#include <pthread.h>
#include <unistd.h>
#include "net/io.h"
#include "region/region.h"
#include "proxy.h"
#include "rig.h"

#define BIG (1u << 20)

struct raw {
	pthread_t thread;
	int fd, one;
	bool ok;
};

static void *write_split(void *arg)
{
	struct raw *w = arg;
	uint8_t frame[SHERD_FRAME_HEADER + 128];

	w->ok = true;
	for (unsigned cut = 0; w->ok && cut < sizeof(frame); cut++) {
		size_t n = rig_frame(frame, cut, 100, cut);

		w->ok = rig_write(w->fd, frame, cut);
		usleep(200);
		w->ok = w->ok && rig_write(w->fd, frame + cut, n - cut);
		usleep(200);
	}
	return NULL;
}

static bool all_split_frames(struct rig *r)
{
	return r->n_ends && r->ends[0].frames == SHERD_FRAME_HEADER + 128;
}

static void a_frame_cut_in_two_at_any_byte_arrives_whole(struct rig *r)
{
	struct raw w;
	int one = 1;

	r->like.on_frame = rig_check;
	rig_start(r);
	w.fd = rig_connect(r);
	setsockopt(w.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	pthread_create(&w.thread, NULL, write_split, &w);
	rig_run(r, all_split_frames);
	pthread_join(w.thread, NULL);
	assert_true(w.ok);
	close(w.fd);
	rig_run(r, rig_first_is_down);
	ASSERT_SAYS(r->ends[0].why, "the other side hung up");
	rig_end(r);
}

static bool three_frames(struct rig *r)
{
	return r->n_ends && r->ends[0].frames == 3;
}

static void two_frames_and_a_half_in_one_read_are_two_and_then_a_third(struct rig *r)
{
	uint8_t frames[3 * 256];
	size_t n = 0, half;
	int fd;

	r->like.on_frame = rig_check;
	rig_start(r);
	fd = rig_connect(r);
	n = rig_frame(frames, 0, 90, 1);
	n += rig_frame(frames + n, 1, 0, 2);
	half = n + 20;
	n += rig_frame(frames + n, 2, 64, 3);
	assert_true(rig_write(fd, frames, half));
	rig_run_ms(r, 30);
	assert_int_equal(r->n_ends, 1);
	assert_int_equal(r->ends[0].frames, 2);
	assert_true(rig_write(fd, frames + half, n - half));
	rig_run(r, three_frames);
	assert_true(rig_write(fd, frames, 10));
	close(fd);
	rig_run(r, rig_first_is_down);
	ASSERT_SAYS(r->ends[0].why, "in the middle of a frame (after 10 bytes of 64)");
	rig_end(r);
}

/* Many at once, both ways, through sockets that take a little at a time. */
#define N_RANDOM 40
static uint32_t sizes[2][N_RANDOM];

static void send_random(struct end *e, const uint32_t *size)
{
	for (int i = 0; i < N_RANDOM; i++)
		if (rand() % 2)
			rig_send(e, size[i], i);
		else
			rig_send_kept(e, size[i], i);
}

static void a_sends_random(struct end *e)
{
	send_random(e, sizes[0]);
}

static void b_sends_random(struct end *e)
{
	send_random(e, sizes[1]);
}

static void check_random(struct end *e, const struct sherd_frame *f, const uint8_t *payload)
{
	assert_int_equal(f->session, e->frames - 1);
	assert_int_equal(f->payload, sizes[e == &e->r->a][f->session]);
	rig_check(e, f, payload);
}

static bool all_random(struct rig *r)
{
	return r->a.frames == N_RANDOM && r->n_ends && r->ends[0].frames == N_RANDOM;
}

static void make_sizes(void)
{
	for (int i = 0; i < 2 * N_RANDOM; i++)
		sizes[i / N_RANDOM][i % N_RANDOM] = rand() % (rand() % 8   ? 5000
							      : rand() % 3 ? 100000
									   : BIG);
	sizes[0][1] = 0;
	sizes[1][2] = BIG;
}

static void run_random(struct rig *r, const char *at)
{
	make_sizes();
	r->a.on_up = a_sends_random;
	r->a.on_frame = check_random;
	r->like.on_up = b_sends_random;
	r->like.on_frame = check_random;
	if (!r->loop)
		rig_start(r);
	rig_dial(r, &r->a, at ? at : r->at);
	rig_run(r, all_random);
	assert_int_equal(r->net->ops->queued(r->a.link), 0);
	assert_int_equal(r->a.link->frames_out, N_RANDOM);
	assert_int_equal(r->a.link->bytes_out, r->ends[0].link->bytes_in);
}

static void random_frames_both_ways_at_once_arrive_in_order(struct rig *r)
{
	run_random(r, NULL);
	sherd_link_hang_up(r->a.link, "enough");
	rig_run(r, rig_both_down);
	assert_string_equal(r->a.why.msg, "enough");
	ASSERT_SAYS(r->ends[0].why, "the other side hung up");
	rig_end(r);
}

static void so_they_do_through_tiny_sockets_and_buffers(struct rig *r)
{
	r->params.socket_buffer =
		40000 + rand() % 50000; /* a packet on loopback has up to 64 KiB */
	r->params.n_buffers = 2;
	r->params.buffer_size = 256 << (rand() % 5);
	r->params.entries = 1 + rand() % 4;
	r->params.zc_bytes = 1 + rand() % 60000;
	run_random(r, NULL);
	rig_end(r);
}

static void so_they_do_through_a_slow_network(struct rig *r)
{
	struct proxy_params p = { .there = { .delay_us = 5000, .piece = 1 + rand() % 3000 },
				  .back = { .piece = 1 + rand() % 3000, .pause_us = 1 } };
	const char *why;
	struct proxy *x;
	char at[64];

	rig_start(r);
	p.to = r->at;
	x = proxy_start(&p, at, &why);
	assert_non_null(x);
	run_random(r, at);
	proxy_stop(x);
	rig_run(r, rig_both_down);
	rig_end(r);
}

static void a_hundred_frames(struct end *e)
{
	for (int i = 0; i < 100; i++)
		rig_send(e, i, i);
}

static bool a_hundred(struct rig *r)
{
	return r->n_ends && r->ends[0].frames == 100;
}

static void small_frames_queued_together_go_in_one_piece(struct rig *r)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int fd;

	r->a.on_up = a_hundred_frames;
	r->like.on_frame = rig_check;
	rig_start(r);
	rig_dial(r, &r->a, r->at);
	rig_run(r, a_hundred);
	fd = ((struct sherd_conn *)r->a.link)->sock.fd;
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	assert_in_range(info.tcpi_data_segs_out, 1, 8);
	rig_end(r);
}

/* ------------------------------------------------------------------ payloads */

struct slots {
	struct sherd_region *ring;
	int done[4];
};

static struct slots slots;

static void slot_done(void *arg)
{
	++*(int *)arg;
}

static void send_slots(struct end *e)
{
	for (int i = 0; i < 4; i++) {
		const struct sherd_frame f = { .type = SHERD_FRAME_ROWS, .session = i };
		uint8_t *data = (uint8_t *)slots.ring->slots[i].data + 128 * i;
		const struct sherd_payload p = { .data = data, .size = 60000, .slot = i,
						 .done = slot_done, .arg = &slots.done[i] };

		rig_fill(data, p.size, i);
		e->r->net->ops->send(e->link, &f, &p);
	}
}

static bool four_frames(struct rig *r)
{
	return r->n_ends && r->ends[0].frames == 4 && slots.done[0] && slots.done[1] &&
	       slots.done[2] && slots.done[3];
}

static void payloads_in_slots_arrive_and_are_done_once(struct rig *r)
{
	memset(&slots, 0, sizeof(slots));
	assert_int_equal(sherd_ring_create(&slots.ring, 4, 64 << 10, NULL, &r->err), 0);
	r->params.ring = slots.ring;
	r->a.on_up = send_slots;
	r->like.on_frame = rig_check;
	rig_start(r);
	assert_string_equal(r->loop->note.msg, "");
	rig_dial(r, &r->a, r->at);
	rig_run(r, four_frames);
	/* This machine's loopback copies all the same, and the kernel says so. */
	if (r->loop->io == SHERD_IO_URING_ZC)
		assert_int_equal(r->a.link->zero_copies + r->a.link->copies, 4);
	else
		assert_int_equal(r->a.link->zero_copies + r->a.link->copies, 0);
	rig_end(r);
	for (int i = 0; i < 4; i++)
		assert_int_equal(slots.done[i], 1);
	sherd_region_close(slots.ring);
}

static void send_large(struct end *e)
{
	for (int i = 0; i < 20; i++)
		rig_send_kept(e, 100000, i);
}

static bool twenty(struct rig *r)
{
	return r->n_ends && r->ends[0].frames == 20 && r->n_done == 20;
}

static void zero_copy_goes_off_where_the_kernel_copies(struct rig *r)
{
	r->a.on_up = send_large;
	r->like.on_frame = rig_check;
	rig_start(r);
	rig_dial(r, &r->a, r->at);
	rig_run(r, twenty);
	if (r->loop->io == SHERD_IO_URING_ZC && r->a.link->copies) {
		assert_true(r->a.link->copies >= 4);
		assert_true(((struct sherd_conn *)r->a.link)->zc_off);
	}
	rig_end(r);
}

static const struct rig_case cases[] = {
	CASE(a_frame_cut_in_two_at_any_byte_arrives_whole),
	CASE(two_frames_and_a_half_in_one_read_are_two_and_then_a_third),
	CASE(random_frames_both_ways_at_once_arrive_in_order),
	CASE(so_they_do_through_tiny_sockets_and_buffers),
	CASE(so_they_do_through_a_slow_network),
	CASE(small_frames_queued_together_go_in_one_piece),
	CASE(payloads_in_slots_arrive_and_are_done_once),
	CASE(zero_copy_goes_off_where_the_kernel_copies),
};

int main(int argc, char **argv)
{
	return rig_run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
