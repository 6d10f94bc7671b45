/* SPDX-License-Identifier: MIT */
/* roofline: points from kernels' times, places for their numbers, and the files. Nothing is drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include "random.h"
#include "roofline.h"
#include "roofline_page.h"

#define READ 1e10
#define DOT  1e12
#define FMA  1e11

static struct sherd_cl_time kernel(const char *name, double seconds, double bytes, double ops, bool floats)
{
	struct sherd_cl_time k = { .name = name, .shape = "64 rows, 8 heads of 32", .seconds = seconds,
				   .bytes = bytes, .ops = ops, .calls = 1, .floats = floats };

	return k;
}

static struct roofline empty(void)
{
	return (struct roofline){ .model = "it's `a` model", .device = "a\ndevice", .dot_path = "plain",
				  .threads = 2, .date = "2026-01-01", .read = READ, .dot = DOT, .fma = FMA };
}

static void a_point_is_where_its_numbers_say(void **state)
{
	/* by hand: 2 operations a byte; memory allows 2e10, it has 1e10 */
	const struct sherd_cl_time k[] = { kernel("few", 1, 1e9, 1e8, true), kernel("matmul_1", 3, 1.5e10, 3e10, false),
					   kernel("gather", 1, 1e9, 0, true) };
	struct roofline r = empty();

	(void)state;
	assert_int_equal(roofline_add(&r, "tg16", k, 3), 0);
	assert_int_equal(r.n_points, 2);
	assert_int_equal(r.n_moves, 1);
	assert_string_equal(r.points[0].kernel->name, "matmul_1"); /* the longest first */
	assert_true(fabs(r.points[0].intensity - 2) < 1e-9);
	assert_true(fabs(r.points[0].rate - 1e10) < 1);
	assert_true(fabs(r.points[0].share - 0.5) < 1e-9);
	assert_true(fabs(r.points[0].time - 0.6) < 1e-9);
	roofline_free(&r);
}

static void floating_point_has_a_ceiling_of_its_own(void **state)
{
	const struct sherd_cl_time k[] = { kernel("matmul_8", 1, 1, 5e10, false),
					   kernel("attend", 1, 1, 5e10, true) };
	struct roofline r = empty();

	(void)state;
	assert_int_equal(roofline_add(&r, "pp16", k, 2), 0);
	for (int i = 0; i < 2; i++)
		assert_true(fabs(r.points[i].share - (r.points[i].kernel->floats ? 0.5 : 0.05)) < 1e-9);
	roofline_free(&r);
}

/* Kernels as they are: many of the same intensity. */
static void make_many(struct roofline *r, struct sherd_cl_time *k, int n, uint64_t seed)
{
	for (int i = 0; i < n; i++) {
		double bytes = 1e6 * (1 + tiny_below(&seed, 100));

		k[i] = kernel("matmul_1", bytes / (1e9 * (1 + tiny_below(&seed, 9))), bytes,
			      bytes * (tiny_below(&seed, 3) ? 1.88 : 120), false);
	}
	assert_int_equal(roofline_add(r, "tg16", k, n), 0);
}

static void numbers_cover_each_other_nowhere(void **state)
{
	struct sherd_cl_time k[24];

	(void)state;
	for (uint64_t seed = 1; seed < 30; seed++) {
		struct roofline r = empty();

		make_many(&r, k, ARRAY_SIZE(k), seed);
		roofline_place(&r);
		for (int i = 0; i < r.n_points; i++) {
			const struct roofline_point *p = &r.points[i];

			assert_true(p->x > PLOT_LEFT && p->x < PLOT_LEFT + PLOT_WIDTH);
			assert_true(p->y > PLOT_BOTTOM && p->y < PLOT_BOTTOM + PLOT_HEIGHT);
			for (int m = 0; m < i; m++)
				assert_true(fabs(p->x - r.points[m].x) >= LABEL_WIDTH ||
					    fabs(p->y - r.points[m].y) >= LABEL_HEIGHT);
		}
		roofline_free(&r);
	}
}

static char *written(const struct roofline *r, void (*write)(const struct roofline *, FILE *))
{
	char *text = NULL, *copy;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	write(r, f);
	fclose(f);
	copy = strdup(text);
	assert_non_null(copy);
	free(text);
	return copy;
}

static void the_script_has_every_point_and_nothing_strange(void **state)
{
	struct sherd_cl_time k[24];
	struct roofline r = empty();
	char *text, *p;
	int rows = 0;

	(void)state;
	make_many(&r, k, ARRAY_SIZE(k), 1);
	roofline_place(&r);
	text = written(&r, roofline_write_gnuplot);
	assert_null(strchr(text, '`'));
	assert_non_null(strstr(text, "'it?s ?a? model on a?device, 2 threads, 2026-01-01'"));
	p = strstr(text, "$i0 << EOD\n");
	assert_non_null(p);
	for (p = strchr(p, '\n') + 1; strncmp(p, "EOD", 3); p = strchr(p, '\n') + 1)
		rows++;
	assert_int_equal(rows, ARRAY_SIZE(k));
	free(text);
	roofline_free(&r);
}

static void the_numbers_are_in_the_files(void **state)
{
	const struct sherd_cl_time k[] = { kernel("matmul_1", 2, 1e10, 2e10, false) };
	struct roofline r = empty();
	char *text;
	json_t *j;

	(void)state;
	assert_int_equal(roofline_add(&r, "tg16", k, 1), 0);
	text = written(&r, roofline_write_csv);
	assert_non_null(strstr(text, "\nlimit,,read,,,1,1e+10,"));
	assert_non_null(strstr(text, "\nkernel,tg16,matmul_1,\"64 rows, 8 heads of 32\",1,2,1e+10,2e+10,int8,2,1e+10,"
				     "0.5000,1.0000\n"));
	free(text);
	text = written(&r, roofline_write_json);
	j = json_loads(text, 0, NULL);
	assert_non_null(j);
	assert_int_equal(json_array_size(json_object_get(j, "points")), 1);
	json_decref(j);
	free(text);
	roofline_free(&r);
}

static void the_name_says_what_is_written(void **state)
{
	enum roofline_kind kind;
	struct sherd_error err;

	(void)state;
	assert_int_equal(roofline_kind("a.b/out.svg", &kind, &err), 0);
	assert_int_equal(kind, ROOFLINE_SVG);
	assert_int_equal(roofline_kind("x.json", &kind, &err), 0);
	assert_int_equal(kind, ROOFLINE_JSON);
	assert_int_equal(roofline_kind("x.pdf", &kind, &err), -EINVAL);
	assert_non_null(strstr(err.msg, ".svg"));
	assert_int_equal(roofline_kind("svg", &kind, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_point_is_where_its_numbers_say),
		cmocka_unit_test(floating_point_has_a_ceiling_of_its_own),
		cmocka_unit_test(numbers_cover_each_other_nowhere),
		cmocka_unit_test(the_script_has_every_point_and_nothing_strange),
		cmocka_unit_test(the_numbers_are_in_the_files),
		cmocka_unit_test(the_name_says_what_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
