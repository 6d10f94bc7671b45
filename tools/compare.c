/* SPDX-License-Identifier: MIT */
/* compare: is the difference between two measurements more than noise? Numbers in, a verdict out. */
#include <math.h>
#include "base/base.h"
#include "compare.h"

#define LEAST 0.01 /* a change of less than this interests nobody */

/* Student's t for 99 % confidence on both sides; of degrees between two rows the lower one counts. */
static double student(double degrees)
{
	static const struct {
		int degrees;
		double t;
	} rows[] = { { 1, 63.657 }, { 2, 9.925 },  { 3, 5.841 },  { 4, 4.604 },	 { 5, 4.032 },
		     { 6, 3.707 },  { 7, 3.499 },  { 8, 3.355 },  { 9, 3.250 },	 { 10, 3.169 },
		     { 12, 3.055 }, { 15, 2.947 }, { 20, 2.845 }, { 30, 2.750 }, { 60, 2.660 } };
	double t = rows[0].t;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && rows[i].degrees <= degrees; i++)
		t = rows[i].t;
	return t;
}

void compare_samples(struct compare_side *s, const double *values, int n)
{
	double sum = 0, logs = 0, squares = 0;

	*s = (struct compare_side){ .n = n };
	for (int i = 0; i < n; i++) {
		if (!(values[i] > 0) || !isfinite(values[i])) {
			s->n = 0;
			return;
		}
		sum += values[i];
		logs += log(values[i]);
	}
	if (!n)
		return;
	s->mean = sum / n;
	s->log_mean = logs / n;
	for (int i = 0; i < n; i++)
		squares += pow(log(values[i]) - s->log_mean, 2);
	s->log_deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
}

void compare_moments(struct compare_side *s, double mean, double deviation, int n)
{
	*s = (struct compare_side){ .n = n };
	if (!(mean > 0) || !isfinite(mean) || !(deviation >= 0) || !isfinite(deviation)) {
		s->n = 0;
		return;
	}
	s->mean = mean;
	s->log_mean = log(mean);
	s->log_deviation = deviation / mean;
}

/* By how much, as a logarithm, a limit moved while it was measured: half of the way there and back. */
static double unrest(const struct compare_limit *l, int side)
{
	return fabs(log(l->after[side] / l->before[side])) / 2;
}

static bool is_known(const struct compare_limit *l)
{
	bool known = l->name != NULL;

	for (int i = 0; i < 2; i++)
		known = known && l->before[i] > 0 && isfinite(l->before[i]) && l->after[i] > 0 &&
			isfinite(l->after[i]);
	return known;
}

void compare_judge(struct compare_result *r, bool less_is_better)
{
	const struct compare_side *old = &r->side[0], *new = &r->side[1];
	const struct compare_limit *l = &r->limit;
	double sign = less_is_better ? -1 : 1, d, half = 0, a, b, machine = 0;

	r->verdict = COMPARE_UNKNOWN;
	r->machine = r->ratio = 1;
	r->low = 0;
	r->high = INFINITY;
	if (old->n < 1 || new->n < 1)
		return;
	d = sign * (new->log_mean - old->log_mean);
	if (is_known(l)) {
		machine = log((l->before[1] + l->after[1]) / (l->before[0] + l->after[0]));
		half = unrest(l, 0) + unrest(l, 1);
	}
	d -= machine;
	r->machine = exp(machine);
	r->ratio = exp(d);
	if (old->n < 2 || new->n < 2)
		return; /* one repetition tells nothing of its spread */
	a = old->log_deviation * old->log_deviation / old->n;
	b = new->log_deviation * new->log_deviation / new->n;
	if (a + b > 0)
		half += student((a + b) * (a + b) / (a * a / (old->n - 1) + b * b / (new->n - 1))) *
			sqrt(a + b);
	/* sure of it, whether the machine's change counts in full or, as for what lies in caches, not */
	r->low = exp(MIN(d, d + machine) - half);
	r->high = exp(MAX(d, d + machine) + half);
	if (fabs(d) < log1p(LEAST) || (r->low <= 1 && r->high >= 1))
		r->verdict = COMPARE_SAME;
	else
		r->verdict = d > 0 ? COMPARE_FASTER : COMPARE_SLOWER;
}
