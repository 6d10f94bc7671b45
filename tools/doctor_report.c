/* SPDX-License-Identifier: MIT */
/* doctor_report: the rows as a text, with what would help at its end; or as JSON. */
#include <jansson.h>
#include <stdlib.h>
#include "doctor.h"

static const struct {
	const char *section, *title;
} sections[] = {
	{ "machine", "The machine" },
	{ "drivers", "OpenCL drivers (/etc/OpenCL/vendors)" },
	{ "gpu", "GPUs" },
	{ "opencl", "OpenCL devices: their kernels, how they read weights and share a ring" },
	{ "drm", "DRM render nodes that import our dma-bufs" },
	{ "weights", "What can hold a shard's pages (the first that works is taken)" },
	{ "ring", "What can hold a ring of activations (the first that works is taken)" },
	{ "limits", "Limits" },
	{ "network", "How sockets are driven, for a pipeline of boards" },
	{ "clocks", "Clocks" },
};

static const char *const words[N_FINDINGS] = { "", "yes", "no", "!", "!!" };
static const char *const names[N_FINDINGS] = { "fact", "yes", "no", "advice", "problem" };

/* What a driver or a recorded file says commands no terminal, and is UTF-8. */
static void make_harmless(char *text, size_t size)
{
	char *harmless = tool_harmless(text);

	snprintf(text, size, "%s", harmless ? harmless : "?");
	free(harmless);
}

void doctor_of(struct row *r, const char *device, const char *of)
{
	if (!r)
		return;
	snprintf(r->device, sizeof(r->device), "%s", device);
	make_harmless(r->device, sizeof(r->device));
	r->of = of;
}

struct row *doctor_add(struct doctor *d, const char *section, enum finding finding,
		       const char *name, const char *fmt, ...)
{
	struct row *more = realloc(d->rows, (d->n_rows + 1) * sizeof(*more)), *r;
	va_list ap;

	if (!more)
		return NULL;
	d->rows = more;
	r = &more[d->n_rows++];
	*r = (struct row){ .section = section, .finding = finding };
	snprintf(r->name, sizeof(r->name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	make_harmless(r->name, sizeof(r->name));
	make_harmless(r->text, sizeof(r->text));
	return r;
}

void doctor_remedy(struct row *r, const char *fmt, ...)
{
	va_list ap;

	if (!r)
		return;
	va_start(ap, fmt);
	vsnprintf(r->remedy, sizeof(r->remedy), fmt, ap);
	va_end(ap);
	make_harmless(r->remedy, sizeof(r->remedy));
}

/* -------------------------------------------------------------------- text */

/* Whose and what of, where that is new. */
static void print_heading(const struct row *r, const struct row **last)
{
	if (r->of && (!*last || (*last)->of != r->of || strcmp((*last)->device, r->device)))
		printf("  %s, %s:\n", r->device, r->of);
	*last = r;
}

static bool print_section(const struct doctor *d, size_t s, bool first)
{
	const struct row *last = NULL;
	bool any = false;

	for (int i = 0; i < d->n_rows; i++) {
		const struct row *r = &d->rows[i];

		if (strcmp(r->section, sections[s].section))
			continue;
		if (!any)
			printf("%s%s\n", first ? "" : "\n", sections[s].title);
		any = true;
		print_heading(r, &last);
		printf("  %-3s  %-14s  %s\n", words[r->finding], r->name, r->text);
	}
	return any;
}

static void print_remedies(const struct doctor *d)
{
	int n = 0;

	for (int i = 0; i < d->n_rows; i++) {
		const struct row *r = &d->rows[i];

		if (!r->remedy[0])
			continue;
		if (!n++)
			printf("\nWhat would help\n");
		printf("  %d. %s%s%s: %s\n     -> %s\n", n, r->device, r->device[0] ? ", " : "",
		       r->name, r->text, r->remedy);
	}
	if (!n)
		puts("\nNothing here needs to be mended.");
}

static void print_text(const struct doctor *d)
{
	bool first = true;

	for (size_t s = 0; s < ARRAY_SIZE(sections); s++)
		first = !print_section(d, s, first) && first;
	print_remedies(d);
}

/* -------------------------------------------------------------------- JSON */

static json_t *row_json(const struct row *r)
{
	json_t *o =
		json_pack("{s:s,s:b,s:s,s:s}", "name", r->name, "works", r->finding <= FINDING_YES,
			  "finding", names[r->finding], "text", r->text);

	if (o && r->of) {
		json_object_set_new(o, "device", json_string(r->device));
		json_object_set_new(o, "of", json_string(r->of));
	}
	if (o && r->remedy[0])
		json_object_set_new(o, "remedy", json_string(r->remedy));
	return o;
}

static int print_json(const struct doctor *d)
{
	json_t *all = json_object();
	char *text;

	for (size_t s = 0; s < ARRAY_SIZE(sections); s++) {
		json_t *list = json_array();

		for (int i = 0; i < d->n_rows; i++)
			if (!strcmp(d->rows[i].section, sections[s].section))
				json_array_append_new(list, row_json(&d->rows[i]));
		json_object_set_new(all, sections[s].section, list);
	}
	text = json_dumps(all, JSON_INDENT(2));
	json_decref(all);
	if (!text)
		return tool_failf(&tool_doctor, "out of memory");
	puts(text);
	free(text);
	return TOOL_OK;
}

int doctor_report(const struct doctor *d)
{
	enum finding worst = FINDING_FACT;
	int rc = TOOL_OK;

	for (int i = 0; i < d->n_rows; i++)
		worst = MAX(worst, d->rows[i].finding);
	if (d->json)
		rc = print_json(d);
	else
		print_text(d);
	if (!tool_flush(&tool_doctor) || rc)
		return TOOL_FAILED;
	return worst >= (d->strict ? FINDING_ADVICE : FINDING_PROBLEM) ? TOOL_FAILED : TOOL_OK;
}
