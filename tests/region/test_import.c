/* SPDX-License-Identifier: MIT */
/*
 * How weights come to a device: every way of import on a device that pretends to offer it, and models that
 * compute on what was imported.
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

static int fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
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
		assert_int_equal(sherd_look_at(&look, p->parts[i].mem, 0, p->parts[i].size, seen, &err), 0);
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
		{ FAKE_ARM_DMA_BUF | FAKE_ARM_HOST, SHERD_IMPORT_DMA_BUF_ARM, SHERD_IMPORT_HOST_ARM },
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
		fake_cl.refuse_after = (int)(rnd() % 2);
		if (import_planes("sherd", why) == SHERD_IMPORT_COPY) /* else there was one window only */
			assert_non_null(strstr(why[SHERD_IMPORT_HOST_ARM].msg, "does not import"));
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
		assert_non_null(strstr(why[SHERD_IMPORT_DMA_BUF_KHR].msg, "Cannot allocate memory"));
	}
}

/* The device writes a slot, by its own stores. */
static void device_fills(struct sherd_look *look, cl_mem slot, const uint8_t *bytes, size_t n)
{
	cl_int code;
	cl_mem from = clCreateBuffer(dev->context, CL_MEM_READ_WRITE, n, NULL, &code);

	assert_int_equal(code, 0);
	assert_int_equal(clEnqueueWriteBuffer(dev->queue, from, CL_TRUE, 0, n, bytes, 0, NULL, NULL), 0);
	assert_int_equal(sherd_look_copy(look, from, 0, slot, n), 0);
	clFinish(dev->queue);
	clReleaseMemObject(from);
}

static void take_turns(struct sherd_import *im, uint8_t *slot, cl_mem mem)
{
	uint8_t pattern[4096], seen[4096];
	struct sherd_look look;

	assert_int_equal(sherd_look_open(&look, dev, &err), 0);
	for (int i = 0; i < 3; i++) {
		memset(slot, 10 * i + 7, sizeof(pattern));
		memset(pattern, 10 * i + 7, sizeof(pattern));
		assert_int_equal(fake_cl.acquired, 0);
		assert_int_equal(sherd_import_acquire(im, &err), 0);
		assert_int_equal(sherd_look_at(&look, mem, 0, sizeof(seen), seen, &err), 0);
		assert_memory_equal(seen, pattern, sizeof(pattern));
		memset(pattern, 10 * i + 8, sizeof(pattern));
		device_fills(&look, mem, pattern, sizeof(pattern));
		assert_int_equal(sherd_import_release(im, &err), 0);
		assert_memory_equal(slot, pattern, sizeof(pattern));
	}
	sherd_look_close(&look);
}

static void announce_only(unsigned what)
{
	announce_everything();
	fake_cl.announce = what;
	strcpy(dev->info.extensions, what == FAKE_KHR	   ? "cl_khr_external_memory_dma_buf" :
				     what == FAKE_ARM_HOST ? "cl_arm_import_memory_host" :
				     what			   ? "cl_arm_import_memory_dma_buf" : "");
}

static void a_rings_slot_is_written_by_both_sides_in_turn(void **state)
{
	static const unsigned announce[] = { FAKE_KHR, FAKE_ARM_DMA_BUF, FAKE_ARM_HOST, 0 };
	struct sherd_import im;
	struct sherd_region *r;
	struct sherd_part part;
	int before = fds();

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(announce); k++) {
		announce_only(announce[k]);
		fake_kernel.no_copies = true;
		assert_int_equal(sherd_ring_create(&r, 3, 4096, "sherd", &err), 0);
		part = (struct sherd_part){ .data = sherd_ring_slot(r, 0)->data, .size = 4096 };
		if (announce[k]) {
			assert_int_equal(sherd_import_open(&im, dev, NULL, r, &part, 1, &err), 0);
			take_turns(&im, sherd_ring_slot(r, 0)->data, part.mem);
			sherd_import_close(&im);
		} else {
			assert_int_equal(sherd_import_open(&im, dev, NULL, r, &part, 1, &err), -EOPNOTSUPP);
			assert_non_null(strstr(err.msg, "a copy is nothing"));
		}
		sherd_region_close(r);
		clFinish(dev->queue);
		assert_int_equal(fake_cl.live, 0);
		assert_int_equal(fake_cl.wrong, 0);
		assert_int_equal(fds(), before);
	}
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

	(void)state;
	use_cache("remembered");
	/* the driver crashes on what comes by Khronos' extension, and fails with Arm's dma-bufs */
	fake_sherd(LOG "case $* in *khr*) kill -SEGV $$ ;; *arm-dma-buf*) echo 'sherd device-test: other "
		   "bytes' >&2; exit 3 ;; esac");
	for (int round = 0; round < 2; round++) {
		announce_everything();
		assert_int_equal(import_proven(why), SHERD_IMPORT_HOST_ARM);
		print_message("%s\n%s\n", why[SHERD_IMPORT_DMA_BUF_KHR].msg,
			      why[SHERD_IMPORT_DMA_BUF_ARM].msg);
		assert_non_null(strstr(why[SHERD_IMPORT_DMA_BUF_ARM].msg, "other bytes"));
		assert_int_equal(!!strstr(why[SHERD_IMPORT_DMA_BUF_KHR].msg, "at an earlier start"), round);
		assert_int_equal(fake_cl.imports, fake_cl.host_imports);
		assert_int_equal(count_children(), 3); /* in the first round */
	}
	announce_everything();
	strcpy(dev->info.extensions, "cl_arm_import_memory_dma_buf");
	assert_int_equal(import_proven(why), SHERD_IMPORT_COPY);
	assert_int_equal(count_children(), 3);
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
static void compute(const char *path, const char *device, const char *rung, const char *weights, float *logits)
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
	static const char *const models[] = { "tests/golden/llama-q4_1.gguf", "tests/golden/gpt2-q8_0.gguf" };
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
	seed = getenv("SHERD_SEED") ? strtoull(getenv("SHERD_SEED"), NULL, 0) : (uint64_t)time(NULL);
	print_message("SHERD_SEED=%llu\n", (unsigned long long)seed);
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
		cmocka_unit_test(a_driver_that_refuses_or_lies_gets_the_next_way_and_nothing_is_left),
		cmocka_unit_test(a_rings_slot_is_written_by_both_sides_in_turn),
		cmocka_unit_test(no_room_for_a_copy_is_an_error_and_nothing_is_left),
		cmocka_unit_test(a_way_is_tried_in_a_child_first_and_what_came_of_it_is_remembered),
		cmocka_unit_test(an_import_test_that_could_not_be_done_is_not_remembered),
		cmocka_unit_test(a_model_computes_the_same_bits_on_imported_weights),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
