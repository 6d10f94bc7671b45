/* SPDX-License-Identifier: MIT */
/*
 * rope: the tables of rotary angles, one a model, or one more for layers that rotate otherwise, or
 * not at all. How a family scales its positions is in the table alone: steps only look up.
 */
#include <math.h>
#include "infer/ops.h"

size_t sherd_rope_bytes(const struct sherd_hparams *hp, int n_ctx)
{
	return hp->arch->position == SHERD_POS_LEARNED ? 0 : sizeof(float) * n_ctx * hp->rope_dim;
}

int sherd_n_ropes(const struct sherd_hparams *hp)
{
	if (hp->arch->position == SHERD_POS_LEARNED)
		return 0;
	return hp->other_rope == SHERD_ROPE_SAME ? 1 : 2;
}

/* The angle that pair @i turns by from one position to the next. */
static double frequency(const struct sherd_rope *r, int rope_dim, int i)
{
	double freq, slow;

	if (r->theta == 0)
		return 0;
	freq = pow(r->theta, -2.0 * i / rope_dim);
	if (r->divisors)
		freq /= r->divisors[i];
	if (!r->yarn)
		return freq / r->factor;
	slow = (i - r->ramp[0]) / fmax(r->ramp[1] - r->ramp[0], 0.001);
	slow = fmin(fmax(slow, 0), 1);
	return freq / r->factor * slow + freq * (1 - slow);
}

/* In double on the host and rounded once: a device's own sine never enters a result. */
void sherd_rope_table(const struct sherd_rope *r, int rope_dim, int n_ctx, float *table)
{
	int half = rope_dim / 2, pos, i;

	for (i = 0; i < half; i++) {
		double freq = frequency(r, rope_dim, i);

		for (pos = 0; pos < n_ctx; pos++) {
			float *at = table + ((size_t)pos * half + i) * 2;

			at[0] = (float)(cos(pos * freq) * r->scale);
			at[1] = (float)(sin(pos * freq) * r->scale);
		}
	}
}

/* The pair, or what lies between two, that turns @turns times in the context before scaling. */
static double pair_of(const struct sherd_hparams *hp, double turns)
{
	return hp->rope_dim * log(hp->rope_ctx / (turns * 2 * M_PI)) / (2 * log(hp->rope_theta));
}

static void set_yarn(const struct sherd_hparams *hp, struct sherd_rope *r)
{
	double fast = pair_of(hp, hp->rope_fast), slow = pair_of(hp, hp->rope_slow);

	r->yarn = true;
	r->ramp[0] = fmax(hp->rope_whole ? floor(fast) : fast, 0);
	r->ramp[1] = fmin(hp->rope_whole ? ceil(slow) : slow, hp->rope_dim - 1);
}

/* Rule @i: 0 is the model's, 1 that of layers that rotate otherwise, which nothing scales. */
static struct sherd_rope rope_rule(const struct sherd_program *p, int i)
{
	const struct sherd_hparams *hp = &p->shard->hp;
	struct sherd_rope r = { .theta = hp->rope_other_theta, .factor = 1, .scale = 1 };
	enum sherd_slot divisors = SHERD_ROPE_FREQS;

	if (i)
		return r;
	if (hp->rope_scaling == SHERD_ROPE_LONG)
		divisors = p->n_ctx > hp->rope_ctx ? SHERD_ROPE_LONG_FREQS : SHERD_ROPE_SHORT;
	r.theta = hp->rope_theta;
	r.factor = hp->rope_factor;
	r.scale = hp->rope_attn_factor;
	r.divisors = sherd_shard_vector(p->shard, divisors, -1);
	if (hp->rope_scaling == SHERD_ROPE_YARN)
		set_yarn(hp, &r);
	return r;
}

int sherd_rope_make(struct sherd_program *p, struct sherd_error *err)
{
	const struct sherd_hparams *hp = &p->shard->hp;
	size_t size = sherd_rope_bytes(hp, p->n_ctx);
	int i;

	for (i = 0; i < sherd_n_ropes(hp); i++) {
		struct sherd_rope r = rope_rule(p, i);

		p->rope[i] = sherd_calloc(1, size);
		if (!p->rope[i])
			return sherd_fail_oom(err, size, "the table of rotary angles");
		sherd_rope_table(&r, hp->rope_dim, p->n_ctx, p->rope[i]);
	}
	return 0;
}
