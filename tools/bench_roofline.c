/* SPDX-License-Identifier: MIT */
/* bench_roofline: --roofline, from the kernels and limits that bench has. */
#include <stdlib.h>
#include <time.h>
#include "bench.h"
#include "gnuplot.h"
#include "roofline.h"

/* What would fail at the end fails at the beginning. */
int bench_roofline_check(struct bench *b)
{
	enum roofline_kind kind;
	struct sherd_outfile out;
	struct sherd_error err;

	if (!b->roofline_at)
		return TOOL_OK;
	if (b->no_limits || bench_is_reference(b) || b->pipe_params.plan)
		return tool_usage(&tool_bench, "--roofline: there is no roof with %s",
				  b->no_limits ? "--no-limits" :
				  b->pipe_params.plan ? "--plan" : "--device reference");
	if (roofline_kind(b->roofline_at, &kind, &err))
		return tool_usage(&tool_bench, "%s", err.msg);
	if (kind == ROOFLINE_SVG && gnuplot_find(&err))
		return tool_fail(&tool_bench, &err);
	if (sherd_outfile_open(&out, b->roofline_at, &err))
		return tool_fail(&tool_bench, &err);
	sherd_outfile_abort(&out);
	b->kernels = true;
	return TOOL_OK;
}

static void describe(struct roofline *r, const struct bench *b)
{
	time_t now = time(NULL);
	const char *slash = strrchr(b->info->path, '/');

	*r = (struct roofline){
		.model = b->info->name[0] ? b->info->name : slash ? slash + 1 : b->info->path,
		.device = b->info->device,
		.dot_path = b->dot_path,
		.threads = b->n_threads,
		.read = bench_mean(b->before.read, b->after.read),
		.dot = bench_mean(b->before.dot, b->after.dot),
		.fma = bench_mean(b->before.fma, b->after.fma),
	};
	strftime(r->date, sizeof(r->date), "%Y-%m-%d %H:%M UTC", gmtime(&now));
}

static int write_it(const struct roofline *r, enum roofline_kind kind, int fd, struct sherd_error *err)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	int rc;

	if (!f)
		return sherd_fail_oom(err, 1, "a roofline");
	if (kind == ROOFLINE_CSV)
		roofline_write_csv(r, f);
	else if (kind == ROOFLINE_JSON)
		roofline_write_json(r, f);
	else
		roofline_write_gnuplot(r, f);
	if (fclose(f))
		rc = sherd_fail_oom(err, size, "a roofline");
	else if (kind == ROOFLINE_SVG)
		rc = gnuplot_run(text, fd, err);
	else
		rc = sherd_write_all(fd, text, size, "the roofline", err);
	free(text);
	return rc;
}

static int write_file(const struct roofline *r, const char *path, struct sherd_error *err)
{
	enum roofline_kind kind;
	struct sherd_outfile out;
	int rc = roofline_kind(path, &kind, err);

	if (!rc)
		rc = sherd_outfile_open(&out, path, err);
	if (rc)
		return rc;
	rc = write_it(r, kind, out.fd, err);
	if (!rc)
		return sherd_outfile_commit(&out, err);
	sherd_outfile_abort(&out);
	return rc;
}

/* Names come from files and drivers, and JSON wants UTF-8. */
static int describe_harmlessly(struct roofline *r, const struct bench *b, char *names[2])
{
	describe(r, b);
	names[0] = tool_harmless(r->model);
	names[1] = tool_harmless(r->device);
	r->model = names[0];
	r->device = names[1];
	return names[0] && names[1] ? 0 : -ENOMEM;
}

int bench_roofline_write(const struct bench *b)
{
	struct sherd_error err;
	struct roofline r;
	char name[48], *names[2];
	int rc;

	if (!b->roofline_at)
		return TOOL_OK;
	if (!b->has_limits)
		return tool_failf(&tool_bench, "%s: the machine's limits could not be measured, and there "
					       "is no roof without", b->roofline_at);
	if (b->n_tests > ROOFLINE_TESTS)
		tool_note(NULL, "a roofline has room for 16 tests, and the others are left out");
	rc = describe_harmlessly(&r, b, names);
	for (int i = 0; i < b->n_tests && !rc; i++) {
		bench_test_name(b, &b->tests[i], name, sizeof(name));
		rc = roofline_add(&r, name, b->tests[i].kernels, b->tests[i].n_kernels);
	}
	if (rc) {
		rc = sherd_fail_oom(&err, 1, "a roofline");
	} else {
		roofline_place(&r);
		rc = write_file(&r, b->roofline_at, &err);
	}
	roofline_free(&r);
	free(names[0]);
	free(names[1]);
	return rc ? tool_fail(&tool_bench, &err) : TOOL_OK;
}
