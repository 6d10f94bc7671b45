/* SPDX-License-Identifier: MIT */
/*
 * pace: how many tokens to guess. A step that checks k guesses, each right with probability a, gives
 * 1 + a + ... + a^k tokens; it takes the time of 1 + k rows and of k guesses. All of these are
 * measured as the text goes, and the k with the most tokens a second is taken, 0 among them: where
 * guesses do not pay, plain steps are all there is, and a short try comes at growing intervals.
 */
#include "infer/draft.h"

#define FIRST_WAIT  16
#define MAX_WAIT    256
#define TRY	    2	 /* guesses of a try */
#define PLAIN_EVERY 64	 /* what a plain step takes grows with the text, and is measured anew */
#define GAIN	    1.03 /* less is noise */
#define OLDER	    0.9	 /* what a step counts for at the next one */
#define BLEND	    0.2	 /* of a new time in the mean */
#define SPIKE	    3.0	 /* times the mean: more is another program's doing */
#define SLOPE	    0.1	 /* of a row more, as long as only a plain step is known */

void sherd_pace_init(struct sherd_pace *p, int n_max, bool always)
{
	/* a guess is taken to be right in 7 of 10 cases, which two tries correct */
	*p = (struct sherd_pace){ .n_max = MIN(n_max, SHERD_DRAFT_MAX),
				  .always = always,
				  .accepted = 1.4,
				  .tried = 2,
				  .wait = FIRST_WAIT };
	p->most = MIN(TRY, p->n_max);
}

static void blend(double *mean, double x)
{
	*mean = *mean > 0 ? *mean + (MIN(x, SPIKE * *mean) - *mean) * BLEND : x;
}

/* Between two numbers of rows that are known, a line; beyond the last one, its slope goes on. */
static double step_seconds(const struct sherd_pace *p, int rows)
{
	int below = rows, above = rows;
	double slope;

	while (below > 1 && !(p->step_s[below] > 0))
		below--;
	while (above <= p->n_max + 1 && !(p->step_s[above] > 0))
		above++;
	if (below == rows)
		return p->step_s[rows];
	if (above <= p->n_max + 1)
		slope = (p->step_s[above] - p->step_s[below]) / (above - below);
	else if (below > 1)
		slope = (p->step_s[below] - p->step_s[1]) / (below - 1);
	else
		slope = p->step_s[1] * SLOPE;
	return p->step_s[below] + MAX(slope, 0) * (rows - below);
}

/* If so large a part of the guesses is right. */
static int best_length(const struct sherd_pace *p, double right)
{
	double tokens = 1, power = 1;
	double best = GAIN / p->step_s[1];
	int length = 0, k;

	for (k = 1; k <= p->most; k++) {
		double rate;

		power *= right;
		tokens += power;
		rate = tokens / (step_seconds(p, 1 + k) + k * p->guess_s);
		if (rate > best) {
			best = rate;
			length = k;
		}
	}
	return length;
}

/* What longer steps took once may be another program's doing: they are to be tried again. */
static void forget_longer(struct sherd_pace *p, int length)
{
	memset(&p->step_s[2 + length], 0, (p->n_max - length) * sizeof(p->step_s[0]));
}

int sherd_pace_length(struct sherd_pace *p)
{
	int length;

	if (p->always)
		return p->n_max;
	if (!(p->step_s[1] > 0))
		return 0;
	length = best_length(p, p->accepted / p->tried);
	if (p->since_plain >= PLAIN_EVERY) {
		forget_longer(p, length);
		return 0;
	}
	if (length) {
		p->wait = FIRST_WAIT;
		p->waited = 0;
		return length;
	}
	if (!best_length(p, 1)) /* guessing better would not help */
		p->wait = MAX_WAIT;
	if (++p->waited < p->wait)
		return 0;
	p->waited = 0;
	p->wait = MIN(2 * p->wait, MAX_WAIT);
	p->most = MIN(TRY, p->n_max);
	forget_longer(p, p->most);
	return p->most;
}

void sherd_pace_guessed(struct sherd_pace *p, int n, double seconds)
{
	if (p->warm[0])
		blend(&p->guess_s, seconds / n);
	p->warm[0] = true;
}

bool sherd_pace_checked(struct sherd_pace *p, int n, int accepted, double seconds)
{
	bool warm = p->warm[1 + n];

	p->since_plain = n ? p->since_plain + 1 : 0;
	if (n) {
		p->accepted = p->accepted * OLDER + accepted;
		p->tried = p->tried * OLDER + MIN(accepted + 1, n);
	}
	if (accepted == p->most)
		p->most = MIN(2 * p->most, p->n_max);
	/* the first time with so many rows compiles and warms up */
	if (warm)
		blend(&p->step_s[1 + n], seconds);
	p->warm[1 + n] = true;
	return warm;
}
