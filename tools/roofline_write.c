/* SPDX-License-Identifier: MIT */
/*
 * roofline_write: the picture as gnuplot's script, with its data inside, and the numbers alone. Names
 * come from files and drivers: in the script they are of harmless letters, between single quotes,
 * where gnuplot looks for nothing.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "roofline.h"
#include "roofline_page.h"

#define GIGA 1e9

static const char *const colors[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00" };

/* A quoted string of @text. */
static void quoted(FILE *f, const char *text)
{
	fputc('\'', f);
	for (; *text; text++)
		fputc(*text >= 32 && *text < 127 && !strchr("'`@\\", *text) ? *text : '?', f);
	fputc('\'', f);
}

/* The limits are a column, and the tests as few as have room. */
static int key_rows(const struct roofline *r)
{
	return MAX(3, DIV_ROUND_UP(2 * r->n_tests, 3));
}

static int page_height(const struct roofline *r)
{
	int list = 2 * LIST_ROW + LIST_ROW * (r->n_points + 1) + PLOT_TOP;
	int plot = PLOT_TOP + PLOT_HEIGHT + AXIS_HEIGHT + KEY_ROW * (key_rows(r) + 1);

	return MAX(plot, list);
}

#define PAGE_WIDTH (LIST_LEFT + LIST_WIDTH)

static void write_page(const struct roofline *r, FILE *f)
{
	const struct roofline_axes a = roofline_axes(r);
	int height = page_height(r), bottom = height - PLOT_TOP - PLOT_HEIGHT;
	char title[512];

	fprintf(f, "# A roofline of sherd bench: gnuplot FILE.gp > FILE.svg\n"
		   "set terminal svg size %d,%d dynamic noenhanced font 'Helvetica,12' background '#ffffff'\n",
		PAGE_WIDTH, height);
	fprintf(f, "set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
		   "set bmargin at screen %.5f\nset tmargin at screen %.5f\n",
		(double)PLOT_LEFT / PAGE_WIDTH, (double)(PLOT_LEFT + PLOT_WIDTH) / PAGE_WIDTH,
		(double)bottom / height, (double)(bottom + PLOT_HEIGHT) / height);
	snprintf(title, sizeof(title), "%s on %s, %d thread%s, %s", r->model, r->device, r->threads,
		 r->threads == 1 ? "" : "s", r->date);
	fprintf(f, "set label 1 ");
	quoted(f, title);
	fprintf(f, " at screen %.5f,%.5f left font ',15'\n", (double)PLOT_LEFT / PAGE_WIDTH,
		1 - 25.0 / height);
	fprintf(f, "set label 2 'area of a point: its share of the test''s time; above the slope: bytes from a cache; "
		   "%d without counted operations are not drawn' at screen %.5f,%.5f left font ',10' tc '#666666'\n",
		r->n_moves, (double)PLOT_LEFT / PAGE_WIDTH, 1 - 46.0 / height);
	fprintf(f, "set logscale xy\nset xrange [%.6g:%.6g]\nset yrange [%.6g:%.6g]\n", a.x[0], a.x[1],
		a.y[0] / GIGA, a.y[1] / GIGA);
	fprintf(f, "set xlabel 'operations a byte of memory'\n"
		   "set ylabel 'GOP/s (int8, or floating point)'\n"
		   "set format '%%g'\nset mxtics 10\nset mytics 10\nset tics scale 0.7\n"
		   "set grid xtics ytics lc '#dddddd' lw 1\n"
		   "set key vertical top left at screen %.5f,%.5f maxrows %d samplen 2 spacing 1.1 Left "
		   "reverse font ',11'\n", (double)PLOT_LEFT / PAGE_WIDTH, (double)(bottom - AXIS_HEIGHT) / height,
		key_rows(r));
}

/* Places in data's coordinates: gnuplot keeps them if somebody makes the picture larger. */
static double data_x(const struct roofline_axes *a, double x)
{
	return a->x[0] * pow(a->x[1] / a->x[0], (x - PLOT_LEFT) / PLOT_WIDTH);
}

static double data_y(const struct roofline_axes *a, double y)
{
	return a->y[0] * pow(a->y[1] / a->y[0], (y - PLOT_BOTTOM) / PLOT_HEIGHT) / GIGA;
}

static void write_numbers(const struct roofline *r, FILE *f)
{
	const struct roofline_axes a = roofline_axes(r);

	for (int i = 0; i < r->n_points; i++) {
		const struct roofline_point *p = &r->points[i];
		double x = data_x(&a, p->x), y = data_y(&a, p->y);

		fprintf(f, "set label %d '%d' at %.6g,%.6g center font ',10' front\n", 100 + i, i + 1, x, y);
		if (p->led)
			fprintf(f, "set arrow %d from %.6g,%.6g to %.6g,%.6g nohead lc '#999999' lw 0.6\n",
				100 + i, p->intensity, p->rate / GIGA, x, y);
	}
}

/* A renderer has its own fonts, and makes one of several blanks: each column is a text by itself. */
static const struct {
	int x;
	const char *side, *head;
} columns[] = { { 20, "right", "" },	    { 28, "left", "kernel" },	 { 128, "left", "shape" },
		{ 385, "right", "GOP/s" }, { 445, "right", "of roof" }, { 500, "right", "time" } };

static void write_cell(FILE *f, int row, int column, int height, const char *color, const char *text)
{
	fprintf(f, "set label %d ", 1000 + (int)ARRAY_SIZE(columns) * row + column);
	quoted(f, text);
	fprintf(f, " at screen %.5f,%.5f %s font ',11' tc '%s'\n",
		(double)(LIST_LEFT + columns[column].x) / PAGE_WIDTH,
		1 - (double)(PLOT_TOP + row * LIST_ROW) / height, columns[column].side, color);
}

static void write_row(FILE *f, int i, int height, const struct roofline_point *p)
{
	const char *color = colors[p->test % ARRAY_SIZE(colors)];
	char cell[ARRAY_SIZE(columns)][64];

	snprintf(cell[0], sizeof(*cell), "%d", i + 1);
	snprintf(cell[1], sizeof(*cell), "%s", p->kernel->name);
	snprintf(cell[2], sizeof(*cell), "%s", p->kernel->shape);
	snprintf(cell[3], sizeof(*cell), "%.*f", p->rate < 10 * GIGA ? 2 : 0, p->rate / GIGA);
	snprintf(cell[4], sizeof(*cell), "%.0f %%", 100 * p->share);
	snprintf(cell[5], sizeof(*cell), "%.1f %%", 100 * p->time);
	for (size_t k = 0; k < ARRAY_SIZE(columns); k++)
		write_cell(f, i + 1, (int)k, height, color, cell[k]);
}

static void write_list(const struct roofline *r, FILE *f)
{
	int height = page_height(r);

	for (size_t k = 0; k < ARRAY_SIZE(columns); k++)
		write_cell(f, 0, (int)k, height, "#000000", columns[k].head);
	for (int i = 0; i < r->n_points; i++)
		write_row(f, i, height, &r->points[i]);
}

static void write_data(const struct roofline *r, FILE *f, int test, bool floats)
{
	fprintf(f, "$%s%d << EOD\n", floats ? "f" : "i", test);
	for (int i = 0; i < r->n_points; i++) {
		const struct roofline_point *p = &r->points[i];

		if (p->test == test && p->kernel->floats == floats)
			fprintf(f, "%.6g %.6g %.3f\n", p->intensity, p->rate / GIGA, ROOFLINE_SIZE(p->time));
	}
	fprintf(f, "EOD\n");
}

static int count(const struct roofline *r, int test, bool floats)
{
	int n = 0;

	for (int i = 0; i < r->n_points; i++)
		n += r->points[i].test == test && r->points[i].kernel->floats == floats;
	return n;
}

static void write_roof(const struct roofline *r, FILE *f)
{
	char name[96];

	fprintf(f, "slope(x) = x * %.6g <= %.6g ? x * %.6g : 1/0\n", r->read / GIGA,
		MAX(r->dot, r->fma) / GIGA, r->read / GIGA);
	fprintf(f, "ceiling(x, y) = x * %.6g >= y ? y : 1/0\n", r->read / GIGA);
	fprintf(f, "set samples 2000\nplot slope(x) w lines lw 2 lc '#000000' t ");
	snprintf(name, sizeof(name), "memory: %.1f GB/s", r->read / GIGA);
	quoted(f, name);
	fprintf(f, ", \\\n  ceiling(x, %.6g) w lines lw 2 lc '#000000' dt 2 t ", r->dot / GIGA);
	snprintf(name, sizeof(name), "int8: %.4g GOP/s (%s)", r->dot / GIGA, r->dot_path);
	quoted(f, name);
	fprintf(f, ", \\\n  ceiling(x, %.6g) w lines lw 2 lc '#888888' dt 4 t ", r->fma / GIGA);
	snprintf(name, sizeof(name), "float: %.4g GFLOP/s", r->fma / GIGA);
	quoted(f, name);
}

void roofline_write_gnuplot(const struct roofline *r, FILE *f)
{
	char name[96];

	write_page(r, f);
	write_numbers(r, f);
	write_list(r, f);
	for (int t = 0; t < 2 * r->n_tests; t++)
		write_data(r, f, t / 2, t % 2);
	write_roof(r, f);
	for (int t = 0; t < 2 * r->n_tests; t++) {
		if (!count(r, t / 2, t % 2))
			continue;
		fprintf(f, ", \\\n  $%s%d u 1:2:3 w points pt %d ps variable lc '%s' t ", t % 2 ? "f" : "i",
			t / 2, t % 2 ? 9 : 7, colors[t / 2 % ARRAY_SIZE(colors)]);
		snprintf(name, sizeof(name), "%s, %s", r->tests[t / 2], t % 2 ? "float" : "int8");
		quoted(f, name);
	}
	fputc('\n', f);
}

/* ----------------------------------------------------------------- numbers */

/* Shapes have commas in them, and no quotes. */
void roofline_write_csv(const struct roofline *r, FILE *f)
{
	fprintf(f, "kind,test,name,shape,calls,seconds,bytes,ops,ops_are,ops_per_byte,ops_per_s,share_of_roof,"
		   "share_of_time\n"
		   "limit,,read,,,1,%.9g,,,,,,\nlimit,,int8,,,1,,%.9g,int8,,%.9g,,\n"
		   "limit,,float,,,1,,%.9g,float,,%.9g,,\n", r->read, r->dot, r->dot, r->fma, r->fma);
	for (int i = 0; i < r->n_points; i++) {
		const struct roofline_point *p = &r->points[i];
		const struct sherd_cl_time *k = p->kernel;

		fprintf(f, "kernel,%s,%s,\"%s\",%u,%.9g,%.9g,%.9g,%s,%.9g,%.9g,%.4f,%.4f\n", r->tests[p->test],
			k->name, k->shape, k->calls, k->seconds, k->bytes, k->ops, k->floats ? "float" : "int8",
			p->intensity, p->rate, p->share, p->time);
	}
}

void roofline_write_json(const struct roofline *r, FILE *f)
{
	json_t *points = json_array(), *j;

	for (int i = 0; i < r->n_points; i++) {
		const struct roofline_point *p = &r->points[i];
		const struct sherd_cl_time *k = p->kernel;

		json_array_append_new(
			points, json_pack("{s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:s, s:f, s:f, s:f, s:f}", "test",
					  r->tests[p->test], "name", k->name, "shape", k->shape, "calls",
					  (int)k->calls, "seconds", k->seconds, "bytes", k->bytes, "ops",
					  k->ops, "ops_are", k->floats ? "float" : "int8", "ops_per_byte",
					  p->intensity, "ops_per_s", p->rate, "share_of_roof", p->share,
					  "share_of_time", p->time));
	}
	j = json_pack("{s:s*, s:s*, s:i, s:s, s:{s:f, s:f, s:f, s:s}, s:i, s:o}", "model", r->model, "device",
		      r->device, "n_threads", r->threads, "date", r->date, "limits", "read_bytes_per_s",
		      r->read, "dot_ops_per_s", r->dot, "fma_flops", r->fma, "dot_path", r->dot_path,
		      "not_drawn", r->n_moves, "points", points);
	if (j)
		json_dumpf(j, f, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	fputc('\n', f);
	json_decref(j);
}
