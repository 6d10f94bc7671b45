/* SPDX-License-Identifier: MIT */
/*
 * fuzz_plan: any bytes as plan.json. What is taken is sound - all layers, each once and in order,
 * on nodes that are there - and is the same plan when it was written and read again.
 */
#include <stdlib.h>
#include "plan/plan.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plan(const struct sherd_plan *p)
{
	uint64_t used = 0;
	int at = 0;

	CHECK(p->n_stages >= 1 && p->n_stages <= p->n_nodes && p->n_nodes <= SHERD_CLUSTER_NODES);
	for (int i = 0; i < p->n_stages; i++) {
		const struct sherd_stage_span *s = &p->stages[i];

		CHECK(s->first == at && s->end > at && s->node >= 0 && s->node < p->n_nodes);
		CHECK(!(used >> s->node & 1));
		used |= (uint64_t)1 << s->node;
		at = s->end;
	}
	CHECK(at == p->n_layers);
	for (int i = 0; i < p->n_spares; i++)
		CHECK(p->spares[i].node < p->n_nodes && p->spares[i].stages &&
		      (p->n_stages == 64 || !(p->spares[i].stages >> p->n_stages)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sherd_plan *p, *q;
	struct sherd_error err = { "" };
	json_t *j;
	char *text;

	if (sherd_plan_parse(&p, (const char *)data, size, "fuzz", &err)) {
		CHECK(err.msg[0] && !p);
		return 0;
	}
	check_plan(p);
	j = sherd_plan_to_json(p);
	text = json_dumps(j, 0);
	CHECK(text && !sherd_plan_parse(&q, text, strlen(text), "again", &err));
	CHECK(q->n_stages == p->n_stages && !memcmp(q->stages, p->stages, sizeof(p->stages)));
	CHECK(q->n_spares == p->n_spares && !memcmp(q->spares, p->spares, sizeof(p->spares)));
	json_decref(j);
	free(text);
	free(p);
	free(q);
	return 0;
}
