/* SPDX-License-Identifier: MIT */
/*
 * rope: the tables of rotary angles, one a model, or one more for layers with a window. How a
 * family scales its positions is in the table alone: steps only look up.
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
	return hp->window && hp->rope_window_theta != 0 ? 2 : 1;
}

/* In double on the host and rounded once: a device's own sine never enters a result. */
void sherd_rope_table(const struct sherd_rope *r, int rope_dim, int n_ctx, float *table)
{
	int half = rope_dim / 2, pos, i;

	for (i = 0; i < half; i++) {
		double freq = pow(r->theta, -2.0 * i / rope_dim);

		if (r->divisors)
			freq /= r->divisors[i];
		freq /= r->factor;
		for (pos = 0; pos < n_ctx; pos++) {
			float *at = table + ((size_t)pos * half + i) * 2;

			at[0] = (float)(cos(pos * freq) * r->scale);
			at[1] = (float)(sin(pos * freq) * r->scale);
		}
	}
}

/* Rule @i: 0 is the model's, 1 that of layers with a window, which nothing scales. */
static struct sherd_rope rope_rule(const struct sherd_program *p, int i)
{
	const struct sherd_hparams *hp = &p->shard->hp;
	enum sherd_slot divisors = SHERD_ROPE_FREQS;

	if (i)
		return (struct sherd_rope){ hp->rope_window_theta, 1, 1, NULL };
	if (hp->rope_scaling == SHERD_ROPE_LONG)
		divisors = p->n_ctx > hp->rope_ctx ? SHERD_ROPE_LONG_FREQS : SHERD_ROPE_SHORT;
	return (struct sherd_rope){ hp->rope_theta, hp->rope_factor, hp->rope_attn_factor,
				    sherd_shard_vector(p->shard, divisors, -1) };
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
