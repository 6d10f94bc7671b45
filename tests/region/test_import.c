/* SPDX-License-Identifier: MIT */
/*
 * How weights come to a device: every way of import on a device that pretends to offer it, and
 * models that compute on what was imported.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "device/import.h"
#include "device/import_look.h"
#include "fake_cl.h"
#include "fake_kernel.h"
#include "fds.h"
#include "unit/fake_sherd.h"

#define N_PARTS 24

static struct sherd_error err;
static struct sherd_device *dev;
static uint64_t seed;

static uint32_t rnd(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

/* Random planes in a file, each at a multiple of 4096, and some with a gap before. */
struct planes {
	struct sherd_map map;
	struct sherd_part parts[N_PARTS];
	int n;
};

static void make_planes(struct planes *p)
{
	int fd = memfd_create("planes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t at = 4096 * (rnd() % 3), offset[N_PARTS];
	char *bytes;

	p->n = 1 + (int)(rnd() % N_PARTS);
	for (int i = 0; i < p->n; i++) {
		offset[i] = at;
		p->parts[i] = (struct sherd_part){ .size = 1 + rnd() % 20000 };
		at = ROUND_UP(at + p->parts[i].size, 4096) + 4096 * (rnd() % 2);
	}
	bytes = malloc(at);
	for (size_t i = 0; i < at; i++)
		bytes[i] = (char)rnd();
	assert_int_equal(sherd_write_all(fd, bytes, at, "planes", &err), 0);
	free(bytes);
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	assert_int_equal(sherd_map_fd(&p->map, fd, "planes", &err), 0);
	for (int i = 0; i < p->n; i++)
		p->parts[i].data = p->map.data + offset[i];
}

static void check_planes(const struct planes *p)
{
	uint8_t *seen = malloc(20000);
	struct sherd_look look;

	assert_int_equal(sherd_look_open(&look, dev, &err), 0);
	for (int i = 0; i < p->n; i++) {
		assert_non_null(p->parts[i].mem);
		memset(seen, 0x5a, 20000);
		assert_int_equal(
			sherd_look_at(&look, p->parts[i].mem, 0, p->parts[i].size, seen, &err), 0);
		assert_memory_equal(seen, p->parts[i].data, p->parts[i].size);
	}
	sherd_look_close(&look);
	free(seen);
}

/* Imports random planes from a region of that rung; the way that was taken. */
static enum sherd_import_way import_planes(const char *rung, struct sherd_error *why)
{
	struct sherd_region *r;
	struct sherd_import im;
	struct planes p;
	int before = fds();
	enum sherd_import_way way;

	make_planes(&p);
	assert_int_equal(sherd_region_open(&r, &p.map, rung, &err), 0);
	if (r->max_window) /* several windows, and planes that are longer than one */
		r->max_window = MIN(r->max_window, 4096 * (6 + rnd() % 20));
	assert_int_equal(sherd_import_open(&im, dev, NULL, r, p.parts, p.n, &err), 0);
	check_planes(&p);
	way = im.way;
	for (int i = 0; i < SHERD_N_IMPORTS; i++) {
		assert_int_equal(!!im.refused[i].msg[0], i < (int)way);
		why[i] = im.refused[i];
	}
	sherd_import_close(&im);
	clFinish(dev->queue);
	sherd_region_close(r);
	sherd_map_close(&p.map);
	fake_cl_settle();
	assert_int_equal(fds(), before);
	assert_int_equal(fake_cl.live, 0);
	assert_int_equal(fake_cl.acquired, 0);
	assert_int_equal(fake_cl.wrong, 0);
	assert_int_equal(fake_kernel.wrong, 0);
	return way;
}

static void the_best_way_that_the_device_announces_is_taken(void **state)
{
	struct sherd_error why[SHERD_N_IMPORTS];
	static const struct {
		unsigned announce;
		enum sherd_import_way dma_buf, plain;
	} cases[] = {
		{ FAKE_KHR, SHERD_IMPORT_DMA_BUF_KHR, SHERD_IMPORT_COPY },
		{ FAKE_ARM_DMA_BUF, SHERD_IMPORT_DMA_BUF_ARM, SHERD_IMPORT_COPY },
		{ FAKE_ARM_HOST, SHERD_IMPORT_HOST_ARM, SHERD_IMPORT_HOST_ARM },
		{ FAKE_ARM_DMA_BUF | FAKE_ARM_HOST, SHERD_IMPORT_DMA_BUF_ARM,
		  SHERD_IMPORT_HOST_ARM },
		{ FAKE_KHR | FAKE_ARM_DMA_BUF | FAKE_ARM_HOST, SHERD_IMPORT_DMA_BUF_KHR,
		  SHERD_IMPORT_HOST_ARM },
		{ 0, SHERD_IMPORT_COPY, SHERD_IMPORT_COPY },
	};

	(void)state;
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			fake_cl_reset(cases[i].announce);
			fake_kernel_reset(true, true);
			dev->info.extensions[0] = '\0';
			if (cases[i].announce & FAKE_KHR)
				strcat(dev->info.extensions, "cl_khr_external_memory_dma_buf ");
			if (cases[i].announce & FAKE_ARM_DMA_BUF)
				strcat(dev->info.extensions, "cl_arm_import_memory_dma_buf ");
			if (cases[i].announce & FAKE_ARM_HOST)
				strcat(dev->info.extensions, "cl_arm_import_memory_host");
			assert_int_equal(import_planes("sherd", why), cases[i].dma_buf);
			assert_int_equal(import_planes("udmabuf", why), cases[i].dma_buf);
			assert_int_equal(import_planes("plain", why), cases[i].plain);
			assert_int_equal(fake_cl.copies > 0, cases[i].plain == SHERD_IMPORT_COPY);
		}
	}
}

static void announce_everything(void)
{
	fake_cl_reset(FAKE_KHR | FAKE_ARM_DMA_BUF | FAKE_ARM_HOST);
	fake_kernel_reset(true, true);
	strcpy(dev->info.extensions, "cl_khr_external_memory_dma_buf cl_arm_import_memory_dma_buf "
				     "cl_arm_import_memory_host");
}

static void a_driver_that_refuses_or_lies_gets_the_next_way_and_nothing_is_left(void **state)
{
	struct sherd_error why[SHERD_N_IMPORTS];

	(void)state;
	for (int round = 0; round < 4; round++) {
		announce_everything();
		fake_cl.refuse_after = 0;
		assert_int_equal(import_planes("sherd", why), SHERD_IMPORT_COPY);
		for (int i = SHERD_IMPORT_DMA_BUF_KHR; i <= SHERD_IMPORT_HOST_ARM; i++)
			assert_non_null(strstr(why[i].msg, "does not import"));
		announce_everything();
		/* what came of the first window goes again, if there is a second */
		fake_cl.refuse_after = 1;
		if (import_planes("sherd", why) != SHERD_IMPORT_DMA_BUF_KHR)
			assert_non_null(strstr(why[SHERD_IMPORT_HOST_ARM].msg, "does not import"));
		assert_int_equal(fake_cl.imports, 1);
		announce_everything();
		fake_cl.wrong_bytes = true;
		assert_int_equal(import_planes("sherd", why), SHERD_IMPORT_HOST_ARM);
		assert_non_null(strstr(why[SHERD_IMPORT_DMA_BUF_KHR].msg, "shows other bytes"));
		assert_non_null(strstr(why[SHERD_IMPORT_DMA_BUF_ARM].msg, "shows other bytes"));
		announce_everything();
		fake_cl.no_sub_buffers = true;
		assert_int_equal(import_planes("sherd", why), SHERD_IMPORT_COPY);
		assert_non_null(strstr(why[SHERD_IMPORT_DMA_BUF_KHR].msg, "does not cut"));
		announce_everything();
		fake_kernel.export_error = ENOMEM;
		assert_int_equal(import_planes("sherd", why), SHERD_IMPORT_HOST_ARM);
		assert_non_null(
			strstr(why[SHERD_IMPORT_DMA_BUF_KHR].msg, "Cannot allocate memory"));
	}
}

#define SLOTS	  4
#define SLOT_SIZE ((size_t)1 << 20)

/* A ring, and as much of each slot as a part that begins a little behind the slot's beginning. */
struct slots {
	struct sherd_region *ring;
	struct sherd_import im;
	struct sherd_part parts[SLOTS];
	struct sherd_look look;
	cl_mem bytes; /* that the device writes */
	int fds; /* as many as there were before */
};

static void announce_only(unsigned what)
{
	announce_everything();
	fake_cl.announce = what;
	strcpy(dev->info.extensions, what == FAKE_KHR	   ? "cl_khr_external_memory_dma_buf" :
				     what == FAKE_ARM_HOST ? "cl_arm_import_memory_host" :
				     what		   ? "cl_arm_import_memory_dma_buf" :
							     "");
}

/* @announce: 0: in place. */
static void import_slots(struct slots *s, unsigned announce)
{
	cl_int code;

	s->fds = fds();
	announce_only(announce);
	fake_cl.cpu = dev->info.is_cpu = !announce;
	assert_int_equal(sherd_ring_create(&s->ring, SLOTS, SLOT_SIZE, "sherd", &err), 0);
	for (int i = 0; i < SLOTS; i++) {
		struct sherd_window *slot = sherd_ring_slot(s->ring, i);

		memset(slot->data, i + 1, SLOT_SIZE);
		s->parts[i] = (struct sherd_part){ (uint8_t *)slot->data + 4096,
						   SLOT_SIZE - 4096 - 100, NULL };
	}
	if (sherd_import_open(&s->im, dev, NULL, s->ring, s->parts, SLOTS, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(fake_cl.acquired, 0);
	assert_int_equal(sherd_look_open(&s->look, dev, &err), 0);
	s->bytes = clCreateBuffer(dev->context, CL_MEM_READ_WRITE, SLOT_SIZE, NULL, &code);
	assert_int_equal(code, 0);
}

static void close_slots(struct slots *s)
{
	clReleaseMemObject(s->bytes);
	sherd_look_close(&s->look);
	sherd_import_close(&s->im);
	sherd_region_close(s->ring);
	clFinish(dev->queue);
	dev->info.is_cpu = false;
	fake_cl_settle();
	assert_int_equal(fake_cl.live, 0);
	assert_int_equal(fake_cl.acquired, 0);
	assert_int_equal(fake_cl.wrong, 0);
	assert_int_equal(fake_kernel.wrong, 0);
	assert_int_equal(fds(), s->fds);
}

/* The device writes a slot, by its own stores, some time after this returns. */
static void device_fills(struct slots *s, int i, uint8_t byte)
{
	assert_int_equal(clEnqueueFillBuffer(dev->queue, s->bytes, &byte, 1, 0, SLOT_SIZE, 0, NULL,
					     NULL),
			 0);
	assert_int_equal(sherd_look_copy(&s->look, s->bytes, 0, s->parts[i].mem, s->parts[i].size),
			 0);
}

static void device_sees(struct slots *s, int i, uint8_t byte)
{
	size_t n = s->parts[i].size;
	uint8_t *seen = calloc(2, n);

	memset(seen + n, byte, n);
	assert_int_equal(sherd_look_at(&s->look, s->parts[i].mem, 0, n, seen, &err), 0);
	assert_memory_equal(seen, seen + n, n);
	free(seen);
}

/* Of the whole slot, what the device may write, and what is beside it. */
static void cpu_sees(struct slots *s, int i, uint8_t byte, uint8_t beside)
{
	uint8_t *want = malloc(SLOT_SIZE);

	memset(want, beside, SLOT_SIZE);
	memset(want + 4096, byte, s->parts[i].size);
	assert_memory_equal(sherd_ring_slot(s->ring, i)->data, want, SLOT_SIZE);
	free(want);
}

static const unsigned all_ways[] = { FAKE_KHR, FAKE_ARM_DMA_BUF, FAKE_ARM_HOST, 0 };

/* Whether or not the way has commands for it: when release returns, the device is done. */
static void a_rings_slot_is_written_by_both_sides_in_turn(void **state)
{
	struct slots s;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(all_ways); k++) {
		import_slots(&s, all_ways[k]);
		for (int i = 0; i < SLOTS; i++)
			cpu_sees(&s, i, i + 1, i + 1); /* importing left it as it was */
		for (int turn = 0; turn < 3 * SLOTS; turn++) {
			int i = turn % SLOTS;

			memset(sherd_ring_slot(s.ring, i)->data, turn + 10, SLOT_SIZE);
			assert_int_equal(sherd_import_acquire(&s.im, i, &err), 0);
			device_sees(&s, i, turn + 10);
			device_fills(&s, i, turn + 40);
			assert_int_equal(sherd_import_release(&s.im, i, &err), 0);
			cpu_sees(&s, i, turn + 40, turn + 10);
		}
		close_slots(&s);
	}
}

/*
 * What came of one slot can be read while the device still works at what was enqueued for another.
 */
static void each_slot_has_a_turn_of_its_own(void **state)
{
	struct slots s;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(all_ways); k++) {
		import_slots(&s, all_ways[k]);
		assert_int_equal(fake_cl.imports, all_ways[k] ? SLOTS : 0);
		assert_int_equal(sherd_import_acquire(&s.im, 1, &err), 0);
		assert_int_equal(sherd_import_acquire(&s.im, 2, &err), 0);
		assert_int_equal(fake_cl.acquired, all_ways[k] == FAKE_KHR ? 2 : 0);
		device_fills(&s, 2, 77);
		assert_int_equal(sherd_import_give_back(&s.im, 2, &err), 0);
		memset(sherd_ring_slot(s.ring, 3)->data, 50, SLOT_SIZE); /* nobody else's */
		device_fills(&s, 1, 78);
		assert_int_equal(sherd_import_release(&s.im, 2, &err), 0);
		cpu_sees(&s, 2, 77, 3);
		assert_int_equal(fake_cl.acquired, all_ways[k] == FAKE_KHR ? 1 : 0);
		/* once more is nothing */
		assert_int_equal(sherd_import_release(&s.im, 2, &err), 0);
		assert_int_equal(sherd_import_release(&s.im, 1, &err), 0);
		cpu_sees(&s, 1, 78, 2);
		cpu_sees(&s, 3, 50, 50);
		assert_int_equal(sherd_import_acquire(&s.im, SLOTS, &err), -EINVAL);
		assert_int_equal(sherd_import_release(&s.im, -1, &err), -EINVAL);
		/* and is not given back */
		assert_int_equal(sherd_import_acquire(&s.im, 0, &err), 0);
		close_slots(&s);
	}
}

/*
 * A dma-buf for each attachment would do for the bytes, on a machine whose caches are coherent, and
 * only there.
 */
static void a_slots_sync_reaches_the_device_that_imported_it(void **state)
{
	static const unsigned announce[] = { FAKE_KHR, FAKE_ARM_DMA_BUF };
	struct slots s;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(announce); k++) {
		import_slots(&s, announce[k]);
		for (int i = 0; i < SLOTS; i++) {
			struct sherd_window *slot = sherd_ring_slot(s.ring, i);
			int before = fake_kernel.reached;

			assert_int_equal(sherd_window_begin(slot, SHERD_ACCESS_READ, &err), 0);
			assert_int_equal(fake_kernel.reached, before + 1);
			assert_int_equal(sherd_window_end(slot, SHERD_ACCESS_READ, &err), 0);
			assert_int_equal(fake_kernel.reached, before + 2);
		}
		close_slots(&s);
	}
}

/* The device may write still, as far as it says; the other slots go on. */
static void a_slot_that_is_not_released_is_an_error_and_the_others_go_on(void **state)
{
	struct slots s;

	(void)state;
	import_slots(&s, FAKE_KHR);
	for (int i = 0; i < SLOTS; i++)
		assert_int_equal(sherd_import_acquire(&s.im, i, &err), 0);
	fake_cl.release_error = CL_OUT_OF_RESOURCES;
	assert_int_not_equal(sherd_import_release(&s.im, 0, &err), 0);
	assert_non_null(strstr(err.msg, "does not release"));
	fake_cl.release_error = 0;
	assert_int_equal(sherd_import_release(&s.im, 1, &err), 0);
	assert_int_equal(fake_cl.acquired, SLOTS - 1);
	assert_int_equal(sherd_import_release(&s.im, 0, &err), 0);
	assert_int_equal(fake_cl.acquired, SLOTS - 2);
	close_slots(&s);
}

static void parts_of_a_ring_have_a_slot_each_to_themselves(void **state)
{
	static const struct {
		size_t at[2], size[2];
	} wrong[] = {
		{ { 0, 2048 }, { 1024, 1024 } }, /* two in one */
		{ { 0, 4096 }, { 4097, 4096 } }, /* beyond the end */
		{ { 4096, 0 }, { 4096, 4096 } }, /* not by rising address */
		{ { 0, 3 * 4096 }, { 4096, 4096 } }, /* behind the last */
		{ { 0, 4096 }, { 4096, 0 } },
	};
	struct sherd_region *r;
	struct sherd_import im;

	(void)state;
	announce_everything();
	assert_int_equal(sherd_ring_create(&r, 3, 4096, "sherd", &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct sherd_part parts[2];

		for (int k = 0; k < 2; k++)
			parts[k] = (struct sherd_part){ r->data + wrong[i].at[k], wrong[i].size[k],
							NULL };
		assert_int_equal(sherd_import_try(&im, dev, r, parts, 2, SHERD_IMPORT_DMA_BUF_KHR,
						  &err),
				 -EINVAL);
	}
	sherd_region_close(r);
	assert_int_equal(fake_cl.imports, 0);
}

static void a_ring_is_never_a_copy_and_nothing_else_than_it_is(void **state)
{
	struct sherd_import im;
	struct sherd_region *r;
	struct sherd_part part;

	(void)state;
	announce_only(0);
	assert_int_equal(sherd_ring_create(&r, 3, 4096, "sherd", &err), 0);
	part = (struct sherd_part){ .data = sherd_ring_slot(r, 0)->data, .size = 4096 };
	assert_int_equal(sherd_import_open(&im, dev, NULL, r, &part, 1, &err), -EOPNOTSUPP);
	print_message("%s\n", err.msg);
	assert_non_null(
		strstr(err.msg, "it is no CPU; dma-buf (cl_khr_external_memory_dma_buf): "));
	assert_non_null(strstr(im.refused[SHERD_IMPORT_COPY].msg, "a copy is nothing"));
	/* other memory, as empty as a new ring is */
	announce_only(FAKE_KHR);
	fake_cl.wrong_bytes = true;
	assert_int_equal(sherd_import_try(&im, dev, r, &part, 1, SHERD_IMPORT_DMA_BUF_KHR, &err),
			 -EBADE);
	assert_non_null(strstr(err.msg, "shows other bytes"));
	assert_int_equal(*r->data, 0);
	sherd_region_close(r);
	clFinish(dev->queue);
	fake_cl_settle();
	assert_int_equal(fake_cl.live, 0);
}

static void no_room_for_a_copy_is_an_error_and_nothing_is_left(void **state)
{
	struct sherd_import im;
	struct planes p;

	(void)state;
	fake_cl_reset(0);
	fake_cl.no_copies = true;
	dev->info.extensions[0] = '\0';
	make_planes(&p);
	assert_int_not_equal(sherd_import_open(&im, dev, NULL, NULL, p.parts, p.n, &err), 0);
	print_message("%s\n", err.msg);
	assert_non_null(strstr(err.msg, "no room"));
	for (int i = 0; i < p.n; i++)
		assert_null(p.parts[i].mem);
	sherd_import_close(&im);
	sherd_map_close(&p.map);
}

/* Imports planes with a child to be asked before; the way that was taken. */
static enum sherd_import_way import_proven(struct sherd_error *why)
{
	struct sherd_region *r;
	struct sherd_import im;
	struct planes p;
	enum sherd_import_way way;

	make_planes(&p);
	assert_int_equal(sherd_region_open(&r, &p.map, "sherd", &err), 0);
	assert_int_equal(sherd_import_open(&im, dev, "gpu", r, p.parts, p.n, &err), 0);
	check_planes(&p);
	way = im.way;
	for (int i = 0; i < SHERD_N_IMPORTS; i++)
		why[i] = im.refused[i];
	sherd_import_close(&im);
	sherd_region_close(r);
	sherd_map_close(&p.map);
	return way;
}

#define LOG "echo \"$*\" >>\"$XDG_CACHE_HOME/log\"; "

/* As if nothing was known of any device. */
static void use_cache(const char *name)
{
	char *path = in_dir(name);

	setenv("XDG_CACHE_HOME", path, 1);
	free(path);
}

static int count_children(void)
{
	char *path = sherd_asprintf("%s/log", getenv("XDG_CACHE_HOME")), *text;
	size_t n;
	int lines = 0;

	if (!sherd_read_file(path, 1 << 20, &text, &n, NULL)) {
		for (size_t i = 0; i < n; i++)
			lines += text[i] == '\n';
		free(text);
	}
	free(path);
	return lines;
}

static void a_way_is_tried_in_a_child_first_and_what_came_of_it_is_remembered(void **state)
{
	struct sherd_error why[SHERD_N_IMPORTS];
	int forgotten;

	(void)state;
	use_cache("remembered");
	/* the driver crashes on what comes by Khronos' extension, and fails with Arm's dma-bufs */
	fake_sherd(
		LOG
		"case $* in *khr*) kill -SEGV $$ ;; *arm-dma-buf*) echo 'sherd device-test: other "
		"bytes' >&2; exit 3 ;; esac");
	for (int round = 0; round < 2; round++) {
		announce_everything();
		assert_int_equal(import_proven(why), SHERD_IMPORT_HOST_ARM);
		print_message("%s\n%s\n", why[SHERD_IMPORT_DMA_BUF_KHR].msg,
			      why[SHERD_IMPORT_DMA_BUF_ARM].msg);
		assert_non_null(strstr(why[SHERD_IMPORT_DMA_BUF_ARM].msg, "other bytes"));
		assert_int_equal(!!strstr(why[SHERD_IMPORT_DMA_BUF_KHR].msg, "at an earlier start"),
				 round);
		assert_int_equal(!!strstr(why[SHERD_IMPORT_DMA_BUF_KHR].msg, "sherd devices --forget"),
				 round);
		assert_int_equal(fake_cl.imports, fake_cl.host_imports);
		assert_int_equal(count_children(), 3); /* in the first round */
	}
	announce_everything();
	strcpy(dev->info.extensions, "cl_arm_import_memory_dma_buf");
	assert_int_equal(import_proven(why), SHERD_IMPORT_COPY);
	assert_int_equal(count_children(), 3);
	/* both failures, and no success */
	assert_int_equal(sherd_device_forget(&forgotten, &err), 0);
	assert_int_equal(forgotten, 2);
	announce_everything();
	assert_int_equal(import_proven(why), SHERD_IMPORT_HOST_ARM);
	assert_int_equal(count_children(), 5);
}

/* A shard is read, and a ring is written: that the one goes says nothing about the other. */
static void a_ring_is_proven_by_a_ring(void **state)
{
	struct sherd_error why[SHERD_N_IMPORTS];
	struct sherd_region *r;
	struct sherd_import im;
	struct sherd_part part;

	(void)state;
	use_cache("rings");
	/* the driver shows what it imports, and writes elsewhere */
	fake_sherd(
		LOG
		"case $* in *--ring*) echo 'sherd device-test: what it writes is not there' >&2; exit 3 ;; "
		"esac");
	announce_everything();
	assert_int_equal(import_proven(why), SHERD_IMPORT_DMA_BUF_KHR);
	assert_int_equal(count_children(), 1);
	assert_int_equal(sherd_ring_create(&r, 3, 4096, "sherd", &err), 0);
	for (int round = 0; round < 2; round++) {
		part = (struct sherd_part){ .data = sherd_ring_slot(r, 0)->data, .size = 4096 };
		assert_int_equal(sherd_import_open(&im, dev, "gpu", r, &part, 1, &err),
				 -EOPNOTSUPP);
		print_message("%s\n", err.msg);
		assert_non_null(strstr(err.msg, "what it writes is not there"));
		for (int i = 0; i < SHERD_N_IMPORTS; i++)
			assert_true(im.refused[i].msg[0]);
		assert_non_null(strstr(im.refused[SHERD_IMPORT_HOST_ARM].msg,
				       "what it writes is not there"));
		sherd_import_close(&im);
		assert_int_equal(count_children(), 4);
	}
	sherd_region_close(r);
}

/* What such a child does, here. */
static void a_sample_goes_to_the_device_and_a_rings_comes_back(void **state)
{
	struct sherd_import_cost cost;
	int before = fds();

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(all_ways); k++) {
		static const enum sherd_import_way ways[] = { SHERD_IMPORT_DMA_BUF_KHR,
							      SHERD_IMPORT_DMA_BUF_ARM,
							      SHERD_IMPORT_HOST_ARM,
							      SHERD_IMPORT_IN_PLACE };
		struct sherd_import_trial t = { .way = sherd_import_word(ways[k]),
						.rung = "sherd" };

		announce_only(all_ways[k]);
		fake_cl.cpu = dev->info.is_cpu = !all_ways[k];
		for (int ring = 0; ring < 2; ring++) {
			t.ring = ring;
			if (sherd_import_selftest(dev, &t, &cost, &err))
				fail_msg("%s", err.msg);
			assert_int_equal(cost.bytes, 256 << 10);
		}
		fake_kernel.drops_writes = true;
		if (ways[k] == SHERD_IMPORT_DMA_BUF_KHR || ways[k] == SHERD_IMPORT_DMA_BUF_ARM) {
			assert_int_equal(sherd_import_selftest(dev, &t, &cost, &err), -EBADE);
			print_message("%s\n", err.msg);
			assert_non_null(strstr(err.msg, "is not there"));
			t.ring = false;
			assert_int_equal(sherd_import_selftest(dev, &t, &cost, &err), 0);
		}
		clFinish(dev->queue);
		fake_cl_settle();
		assert_int_equal(fake_cl.live, 0);
		assert_int_equal(fake_cl.acquired, 0);
		assert_int_equal(fake_cl.wrong, 0);
		assert_int_equal(fake_kernel.wrong, 0);
		assert_int_equal(fds(), before);
	}
	dev->info.is_cpu = false;
	announce_only(FAKE_ARM_HOST);
	assert_int_equal(sherd_import_selftest(dev, &(struct sherd_import_trial){ .way = "wrong" },
					       &cost, &err),
			 -EINVAL);
}

static void an_import_test_that_could_not_be_done_is_not_remembered(void **state)
{
	struct sherd_error why[SHERD_N_IMPORTS];

	(void)state;
	use_cache("undone");
	fake_sherd(LOG "exit 1");
	announce_everything();
	assert_int_equal(import_proven(why), SHERD_IMPORT_COPY);
	assert_int_equal(count_children(), 3);
	fake_sherd(LOG "exit 0");
	announce_everything();
	assert_int_equal(import_proven(why), SHERD_IMPORT_DMA_BUF_KHR);
	assert_int_equal(count_children(), 4);
	announce_everything();
	assert_int_equal(import_proven(why), SHERD_IMPORT_DMA_BUF_KHR);
	assert_int_equal(count_children(), 4);
}

/* Logits of a few tokens of a golden model. */
static void compute(const char *path, const char *device, const char *rung, const char *weights,
		    float *logits)
{
	static const int32_t tokens[] = { 1, 7, 3, 12, 5, 9 };
	struct sherd_model_params params = { .device = device, .region = rung, .untested = true,
					     .n_ctx = 32, .no_cache = true };
	struct sherd_model *m;
	struct sherd_session *s;
	const float *row;

	if (sherd_model_open(&m, path, &params, &err))
		fail_msg("%s", err.msg);
	if (weights)
		assert_string_equal(sherd_model_info(m)->weights, weights);
	assert_int_equal(sherd_session_new(&s, m, NULL, &err), 0);
	assert_int_equal(sherd_prefill(s, tokens, ARRAY_SIZE(tokens), &row, &err), 0);
	memcpy(logits, row, sherd_model_info(m)->n_vocab * sizeof(*row));
	sherd_session_free(s);
	sherd_model_close(m);
}

static void a_model_computes_the_same_bits_on_imported_weights(void **state)
{
	static const char *const models[] = { "tests/golden/llama-q4_1.gguf",
					      "tests/golden/gpt2-q8_0.gguf" };
	static const struct {
		unsigned announce;
		const char *rung, *way;
	} cases[] = {
		{ FAKE_KHR, "sherd", "dma-buf (cl_khr_external_memory_dma_buf)" },
		{ FAKE_ARM_DMA_BUF, "udmabuf", "dma-buf (cl_arm_import_memory)" },
		{ FAKE_ARM_HOST, "locked", "host pointer (cl_arm_import_memory)" },
		{ 0, "plain", "copy" },
	};
	float want[4096], got[4096];

	(void)state;
	for (size_t m = 0; m < ARRAY_SIZE(models); m++) {
		memset(want, 0, sizeof(want));
		compute(models[m], "reference", "plain", "in place", want);
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			fake_cl_reset(cases[i].announce);
			fake_kernel_reset(true, true);
			memset(got, 0, sizeof(got));
			compute(models[m], "gpu", cases[i].rung, cases[i].way, got);
			assert_memory_equal(got, want, sizeof(want));
			assert_int_equal(fake_cl.wrong, 0);
			fake_cl_settle();
			assert_int_equal(fake_cl.live, 0);
		}
	}
}

static int set_up(void **state)
{
	(void)state;
	fake_cl_reset(FAKE_KHR | FAKE_ARM_DMA_BUF | FAKE_ARM_HOST); /* room for all names */
	if (sherd_device_open(&dev, "gpu", 0, "plain", &err)) {
		print_message("skipped: %s\n", err.msg);
		exit(77);
	}
	seed = getenv("SHERD_SEED") ? strtoull(getenv("SHERD_SEED"), NULL, 0) :
				      (uint64_t)time(NULL);
	print_message("SHERD_SEED=%llu\n", (unsigned long long)seed);
	fake_cl_map = fake_kernel_attach;
	return fake_sherd_set_up(state);
}

static int tear_down(void **state)
{
	sherd_device_close(dev);
	free(real_path);
	return scratch_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_best_way_that_the_device_announces_is_taken),
		cmocka_unit_test(
			a_driver_that_refuses_or_lies_gets_the_next_way_and_nothing_is_left),
		cmocka_unit_test(a_rings_slot_is_written_by_both_sides_in_turn),
		cmocka_unit_test(each_slot_has_a_turn_of_its_own),
		cmocka_unit_test(a_slots_sync_reaches_the_device_that_imported_it),
		cmocka_unit_test(a_slot_that_is_not_released_is_an_error_and_the_others_go_on),
		cmocka_unit_test(parts_of_a_ring_have_a_slot_each_to_themselves),
		cmocka_unit_test(a_ring_is_never_a_copy_and_nothing_else_than_it_is),
		cmocka_unit_test(no_room_for_a_copy_is_an_error_and_nothing_is_left),
		cmocka_unit_test(a_way_is_tried_in_a_child_first_and_what_came_of_it_is_remembered),
		cmocka_unit_test(an_import_test_that_could_not_be_done_is_not_remembered),
		cmocka_unit_test(a_ring_is_proven_by_a_ring),
		cmocka_unit_test(a_sample_goes_to_the_device_and_a_rings_comes_back),
		cmocka_unit_test(a_model_computes_the_same_bits_on_imported_weights),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
