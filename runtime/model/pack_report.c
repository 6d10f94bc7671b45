/* SPDX-License-Identifier: MIT */
/*
 * pack_report: what became of a model's matrices, and what that lost, matrix by matrix and by pairs
 * of types.
 */
#include "model/pack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool could_be_less(const struct sherd_pack_item *it)
{
	struct sherd_format least;

	return !sherd_type_is_float(it->part[0]->type) &&
	       !sherd_quant_format(it->part[0]->type, 4, &least) &&
	       !sherd_format_alike(&least, &it->fmt);
}

static void item_types(const struct sherd_pack_item *it, char *buf, size_t size)
{
	int i, n = 0;

	buf[0] = '\0';
	for (i = 0; i < it->n_parts && n >= 0 && (size_t)n < size; i++)
		if (i == 0 || it->part[i]->type != it->part[i - 1]->type)
			n += snprintf(buf + n, size - n, "%s%s", i ? "+" : "",
				      ggml_type_name(it->part[i]->type));
}

int sherd_pack_report_make(const struct sherd_packer *p, struct sherd_pack_report *report,
			   struct sherd_error *err)
{
	size_t i;

	memset(report, 0, sizeof(*report));
	report->bytes_in = p->plan.bytes_in;
	report->bytes_out = p->size;
	report->loss = sherd_calloc(p->plan.n_items, sizeof(*report->loss));
	if (!report->loss)
		return sherd_fail_oom(err, p->plan.n_items * sizeof(*report->loss), "a report");
	for (i = 0; i < p->plan.n_items; i++) {
		const struct sherd_pack_item *it = &p->plan.items[i];
		struct sherd_pack_loss *l = &report->loss[report->n_loss];

		if (it->vector)
			continue;
		snprintf(l->tensor, sizeof(l->tensor), "%s", it->name);
		item_types(it, l->from, sizeof(l->from));
		sherd_format_name(&it->fmt, l->to, sizeof(l->to));
		report->could_be_less |= could_be_less(it);
		if (p->lost[i].err2 > 0)
			l->rel_rms = sqrt(p->lost[i].err2 / p->lost[i].ref2);
		report->n_loss++;
	}
	return 0;
}

struct sherd_pack_kind *sherd_pack_kinds(const struct sherd_pack_report *r, size_t *n)
{
	struct sherd_pack_kind *kinds = sherd_calloc(r->n_loss + 1, sizeof(*kinds));
	size_t i, k;

	*n = 0;
	for (i = 0; kinds && i < r->n_loss; i++) {
		const struct sherd_pack_loss *l = &r->loss[i];

		for (k = 0; k < *n; k++)
			if (!strcmp(kinds[k].from, l->from) && !strcmp(kinds[k].to, l->to))
				break;
		if (k == *n)
			kinds[(*n)++] = (struct sherd_pack_kind){ .from = l->from,
								  .to = l->to,
								  .worst = l };
		kinds[k].mean += (l->rel_rms - kinds[k].mean) / (double)++kinds[k].n;
		if (l->rel_rms > kinds[k].worst->rel_rms)
			kinds[k].worst = l;
	}
	return kinds;
}
