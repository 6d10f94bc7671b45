/* SPDX-License-Identifier: MIT */
/* roofline: the points, and where their numbers go. Nothing is drawn here. */
#include <math.h>
#include <stdlib.h>
#include "roofline.h"
#include "roofline_page.h"

int roofline_kind(const char *path, enum roofline_kind *kind, struct sherd_error *err)
{
	static const char *const ends[] = { ".svg", ".gp", ".csv", ".json" };
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(ends); i++)
		if (!strcmp(dot, ends[i])) {
			*kind = (enum roofline_kind)i;
			return 0;
		}
	return sherd_fail(err, -EINVAL,
			  "%s: a roofline's name ends with .svg (a picture), .gp (gnuplot's script), "
			  ".csv or .json (its numbers)", path);
}

static double share_of_roof(const struct roofline *r, const struct sherd_cl_time *k)
{
	double read = k->bytes / r->read, ops = k->ops / (k->floats ? r->fma : r->dot);

	return MAX(read, ops) / k->seconds;
}

static int by_time(const void *a, const void *b)
{
	const struct roofline_point *p = a, *q = b;

	return (p->time < q->time) - (p->time > q->time);
}

int roofline_add(struct roofline *r, const char *test, const struct sherd_cl_time *kernels, int n)
{
	int first = r->n_points;
	double total = 0;
	void *more;

	if (r->n_tests == ROOFLINE_TESTS || !n)
		return 0;
	more = realloc(r->points, (size_t)(r->n_points + n) * sizeof(*r->points));
	if (!more)
		return -ENOMEM;
	r->points = more;
	for (int i = 0; i < n; i++)
		total += kernels[i].seconds;
	for (int i = 0; i < n; i++) {
		const struct sherd_cl_time *k = &kernels[i];

		if (!(k->seconds > 0) || !(k->bytes > 0) || !(k->ops > 0)) {
			r->n_moves++;
			continue;
		}
		r->points[r->n_points++] = (struct roofline_point){
			.test = r->n_tests,
			.kernel = k,
			.intensity = k->ops / k->bytes,
			.rate = k->ops / k->seconds,
			.share = share_of_roof(r, k),
			.time = k->seconds / total,
		};
	}
	qsort(r->points + first, (size_t)(r->n_points - first), sizeof(*r->points), by_time);
	snprintf(r->tests[r->n_tests++], sizeof(r->tests[0]), "%s", test);
	return 0;
}

void roofline_free(struct roofline *r)
{
	free(r->points);
	r->points = NULL;
	r->n_points = 0;
}

/* ------------------------------------------------------------------ places */

/* The picture shows all points and where slope and ceilings meet. */
struct roofline_axes roofline_axes(const struct roofline *r)
{
	double ridge = MAX(r->dot, r->fma) / r->read;
	struct roofline_axes a = { .x = { ridge, ridge }, .y = { INFINITY, MAX(r->dot, r->fma) } };

	for (int i = 0; i < r->n_points; i++) {
		const struct roofline_point *p = &r->points[i];

		a.x[0] = MIN(a.x[0], p->intensity);
		a.x[1] = MAX(a.x[1], p->intensity);
		a.y[0] = MIN(a.y[0], p->rate);
		a.y[1] = MAX(a.y[1], p->rate);
	}
	if (!r->n_points)
		a.y[0] = a.y[1] / 100;
	a.x[0] /= 2;
	a.x[1] *= 3;
	a.y[0] /= 3;
	a.y[1] *= 2;
	return a;
}

/* How high @rate is in the picture. */
static double height_of(const struct roofline_axes *a, double rate)
{
	return PLOT_BOTTOM + PLOT_HEIGHT * log(rate / a->y[0]) / log(a->y[1] / a->y[0]);
}

void roofline_where(const struct roofline *r, const struct roofline_point *p, double *x, double *y,
		    double *radius)
{
	const struct roofline_axes a = roofline_axes(r);

	*x = PLOT_LEFT + PLOT_WIDTH * log(p->intensity / a.x[0]) / log(a.x[1] / a.x[0]);
	*y = height_of(&a, p->rate);
	*radius = 4 * ROOFLINE_SIZE(p->time);
}

/* Would a number at (x, y) lie on the slope or a ceiling? */
static bool on_roof(const struct roofline *r, double x, double y)
{
	const struct roofline_axes a = roofline_axes(r);
	double low = INFINITY, high = 0;

	for (int side = -1; side <= 1; side += 2) {
		double at = (x + side * LABEL_WIDTH / 2.0 - PLOT_LEFT) / PLOT_WIDTH;
		double slope = height_of(&a, r->read * a.x[0] * pow(a.x[1] / a.x[0], at));

		low = MIN(low, slope);
		high = MAX(high, slope);
	}
	return (y > low - LABEL_HEIGHT / 2.0 && y < high + LABEL_HEIGHT / 2.0) ||
	       fabs(y - height_of(&a, r->dot)) < LABEL_HEIGHT / 2.0 ||
	       fabs(y - height_of(&a, r->fma)) < LABEL_HEIGHT / 2.0;
}

/* How bad it is to have number @i at (x, y): what it would cover. */
static double cost(const struct roofline *r, int i, double x, double y)
{
	double bad = on_roof(r, x, y) ? 0.5 : 0, px, py, radius;

	if (x < PLOT_LEFT + LABEL_WIDTH || x > PLOT_LEFT + PLOT_WIDTH - LABEL_WIDTH ||
	    y < PLOT_BOTTOM + LABEL_HEIGHT || y > PLOT_BOTTOM + PLOT_HEIGHT - LABEL_HEIGHT)
		bad += 10;
	for (int k = 0; k < r->n_points; k++) {
		const struct roofline_point *p = &r->points[k];

		roofline_where(r, p, &px, &py, &radius);
		if (fabs(px - x) < LABEL_WIDTH / 2.0 + radius && fabs(py - y) < LABEL_HEIGHT / 2.0 + radius)
			bad += 1;
		if (k < i && fabs(p->x - x) < LABEL_WIDTH && fabs(p->y - y) < LABEL_HEIGHT)
			bad += 5;
	}
	return bad;
}

static void place(struct roofline *r, int i)
{
	static const double ways[][2] = { { 1, 0 },   { 0, 1 },	  { -1, 0 }, { 0, -1 },
					  { .7, .7 }, { -.7, .7 }, { .7, -.7 }, { -.7, -.7 } };
	struct roofline_point *p = &r->points[i];
	double x, y, radius, best = INFINITY;

	roofline_where(r, p, &x, &y, &radius);
	for (int step = 0; step < 12 && best >= 0.5; step++)
		for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
			double far = radius + 9 + 9.0 * step;
			double at[2] = { x + far * ways[w][0], y + far * ways[w][1] };
			/* of two that cover as much the nearer one */
			double c = cost(r, i, at[0], at[1]) + 0.01 * step;

			if (c >= best)
				continue;
			best = c;
			p->x = at[0];
			p->y = at[1];
			p->led = step > 0;
		}
}

void roofline_place(struct roofline *r)
{
	for (int i = 0; i < r->n_points; i++)
		place(r, i);
}
