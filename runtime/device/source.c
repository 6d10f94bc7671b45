/* SPDX-License-Identifier: MIT */
/* source: a program's text, of the embedded kernel sources, each include in its place and once. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include "device/device.h"
#include "device/kernels.h"

struct text {
	FILE *f;
	char *data;
	size_t size;
	bool *seen; /* [sherd_n_kernel_sources] */
};

static int find_source(const char *name, size_t len)
{
	for (int i = 0; i < sherd_n_kernel_sources; i++)
		if (strlen(sherd_kernel_sources[i].name) == len &&
		    !memcmp(sherd_kernel_sources[i].name, name, len))
			return i;
	return -1;
}

/* The name in `#include "name"`, or NULL if @line is another one. */
static const char *include_name(const char *line, const char *end, size_t *len)
{
	const char *p = line, *close;

	while (p < end && isblank((unsigned char)*p))
		p++;
	if (p == end || *p++ != '#')
		return NULL;
	while (p < end && isblank((unsigned char)*p))
		p++;
	if (end - p < 7 || memcmp(p, "include", 7))
		return NULL;
	for (p += 7; p < end && isblank((unsigned char)*p);)
		p++;
	if (p == end || *p++ != '"')
		return NULL;
	close = memchr(p, '"', end - p);
	*len = close ? (size_t)(close - p) : 0;
	return close ? p : NULL;
}

/*
 * Appends source @i with its includes in their places; #line keeps the compiler's messages right.
 */
static int append_source(struct text *t, int i, struct sherd_error *err)
{
	const struct sherd_kernel_source *s = &sherd_kernel_sources[i];
	const char *p = s->text;
	int line = 1;

	if (t->seen[i])
		return 0;
	t->seen[i] = true;
	fprintf(t->f, "#line 1 \"%s\"\n", s->name);
	for (; *p; line++) {
		const char *end = strchrnul(p, '\n');
		size_t len;
		const char *name = include_name(p, end, &len);

		if (name) {
			int inner = find_source(name, len);
			int ret;

			if (inner < 0)
				return sherd_fail(
					err, -ENOENT,
					"%s: includes \"%.*s\", which is not a kernel source",
					s->name, (int)len, name);
			ret = append_source(t, inner, err);
			if (ret)
				return ret;
			fprintf(t->f, "#line %d \"%s\"\n", line + 1, s->name);
		} else {
			fprintf(t->f, "%.*s\n", (int)(end - p), p);
		}
		p = *end ? end + 1 : end;
	}
	return 0;
}

char *sherd_device_source(const char *const *sources, int n_sources, struct sherd_error *err)
{
	struct text t = { 0 };
	int ret = 0;

	t.seen = sherd_calloc(sherd_n_kernel_sources + 1, sizeof(*t.seen));
	t.f = t.seen ? open_memstream(&t.data, &t.size) : NULL;
	if (!t.f) {
		free(t.seen);
		sherd_fail_oom(err, 1, "a program's source");
		return NULL;
	}
	for (int i = 0; i < n_sources && !ret; i++) {
		int s = find_source(sources[i], strlen(sources[i]));

		ret = s < 0 ? sherd_fail(err, -ENOENT, "%s: not a kernel source", sources[i])
			    : append_source(&t, s, err);
	}
	if (fclose(t.f) && !ret)
		ret = sherd_fail_oom(err, t.size, "a program's source");
	free(t.seen);
	if (ret) {
		free(t.data);
		return NULL;
	}
	return t.data;
}
