/* SPDX-License-Identifier: MIT */
/*
 * fuzz_cluster: any bytes as cluster.json, with profiles in it. What is taken has a speed for every
 * link and a time for every layer.
 */
#include <math.h>
#include <stdlib.h>
#include "plan/cluster.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_profile(const struct sherd_profile *p)
{
	for (int i = 0; i < p->n_widths; i++) {
		const struct sherd_profile_width *w = &p->widths[i];

		for (int l = 0; l < p->n_layers; l++) {
			CHECK(w->kind_of[l] < w->n_kinds);
			for (int n = 1; n < 600; n += 99) {
				double us = sherd_curve_at(&w->kinds[w->kind_of[l]].us, n);

				CHECK(isfinite(us) && us >= 0);
			}
		}
	}
	json_decref(sherd_profile_to_json(p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sherd_error err = { "" };
	struct sherd_cluster *c;

	if (sherd_cluster_parse(&c, (const char *)data, size, "fuzz", NULL, &err)) {
		CHECK(err.msg[0] && !c);
		return 0;
	}
	CHECK(c->n_nodes >= 1 && c->n_nodes <= SHERD_CLUSTER_NODES);
	for (int i = 0; i <= c->n_nodes; i++)
		for (int k = 0; k <= c->n_nodes; k++)
			CHECK(sherd_cluster_link(c, i, k)->mbit > 0 &&
			      sherd_cluster_link(c, i, k)->rtt_us >= 0);
	for (int i = 0; i < c->n_nodes; i++)
		if (c->nodes[i].profile)
			check_profile(c->nodes[i].profile);
	sherd_cluster_free(c);
	return 0;
}
