/* SPDX-License-Identifier: MIT */
/*
 * tune_file: reads and writes tune files. They come from vendors, packages and mails: every line is
 * checked, and one that is not understood is an error, not a guess.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "device/tune.h"

#define HEAD	  "sherd-tune 1"
#define LINE_MAX_ 512
#define WORDS	  16

/* The line at hand. */
struct reader {
	struct sherd_tune *t;
	const char *name;
	int line;
	struct sherd_error *err;
	bool has_kernels, has_shape;
};

static int wrong(struct reader *r, const char *what, const char *word)
{
	return sherd_fail(r->err, -EINVAL, "%s: line %d: %s%s%.60s%s", r->name, r->line, what,
			  word ? " '" : "", word ? word : "", word ? "'" : "");
}

/* The rest of a line into @to. */
static int read_text(struct reader *r, char *to, size_t size, const char *rest)
{
	if (!*rest)
		return wrong(r, "has no value", NULL);
	if (*to)
		return wrong(r, "says again what an earlier line has said", NULL);
	if (strlen(rest) >= size)
		return wrong(r, "is too long", NULL);
	strcpy(to, rest);
	return 0;
}

static int read_kernels(struct reader *r, const char *rest)
{
	if (strcmp(rest, "any") &&
	    (strlen(rest) != SHERD_SHA256_HEX - 1 || rest[strspn(rest, "0123456789abcdef")]))
		return wrong(r, "kernels: neither \"any\" nor 64 hex digits:", rest);
	r->has_kernels = true;
	return read_text(r, r->t->kernels, sizeof(r->t->kernels), rest);
}

static int read_shape(struct reader *r, const char *rest)
{
	bool simt = !strcmp(rest, "simt");

	if (!simt && strcmp(rest, "wide"))
		return wrong(r, "shape: neither \"wide\" nor \"simt\":", rest);
	if (r->has_shape)
		return wrong(r, "says again what an earlier line has said", NULL);
	r->has_shape = true;
	r->t->shape = simt ? SHERD_SHAPE_SIMT : SHERD_SHAPE_WIDE;
	return 0;
}

static int read_dot(struct reader *r, const char *rest)
{
	int i;

	for (i = 0; sherd_dot_name(i); i++)
		if (!strcmp(sherd_dot_name(i), rest))
			return read_text(r, r->t->dot, sizeof(r->t->dot), rest);
	return wrong(r, "dot: there is no path of dot4.h called", rest);
}

/* "key=1.5": false if it is another key; *rc: its number is none, or out of range. */
static bool read_number(struct reader *r, const char *word, const char *key, double most, double *v,
			int *rc)
{
	size_t len = strlen(key);
	char *end;

	if (strncmp(word, key, len) || word[len] != '=')
		return false;
	*v = strtod(word + len + 1, &end);
	if (end == word + len + 1 || *end || !(*v >= 0 && *v <= most))
		*rc = wrong(r, "is no such number:", word);
	return true;
}

static int read_roof(struct reader *r, char **word, int n)
{
	int i, rc = 0;

	for (i = 0; i < n && !rc; i++)
		if (!read_number(r, word[i], "read", 1e18, &r->t->read, &rc) &&
		    !read_number(r, word[i], "dot", 1e21, &r->t->dot_rate, &rc))
			rc = wrong(r, "roof: neither read= nor dot=:", word[i]);
	return rc;
}

static bool parse_class(const char *word, int *class)
{
	*class = -1;
	if (!strcmp(word, "*"))
		return true;
	for (int i = 0; i < SHERD_TUNE_CLASSES; i++)
		if (!strcmp(word, sherd_tune_class_name(i)))
			*class = i;
	return *class >= 0;
}

static bool parse_size(const char *word, int *rows, int *cols)
{
	char *end;
	long r, c;

	*rows = *cols = 0;
	if (!strcmp(word, "*"))
		return true;
	r = *word >= '1' && *word <= '9' ? strtol(word, &end, 10) : 0;
	if (r < 1 || r > 1 << 30 || *end != 'x' || end[1] < '1' || end[1] > '9')
		return false;
	c = strtol(end + 1, &end, 10);
	if (c < 1 || c > 1 << 30 || *end)
		return false;
	*rows = (int)r;
	*cols = (int)c;
	return true;
}

/* SPEC CLASS ROWSxCOLS VARIANT [us=N] [default_us=N] [share=N] */
static int read_use(struct reader *r, char **word, int n)
{
	struct sherd_tune_use u = { .class = 0 };
	int i, rc = 0;

	if (n < 4)
		return wrong(r, "use: needs a program, a class, a size and a variant", NULL);
	if (strlen(word[0]) >= sizeof(u.spec) ||
	    word[0][strspn(word[0], "abcdefghijklmnopqrstuvwxyz0123456789.*?")])
		return wrong(r, "use: is no program:", word[0]);
	strcpy(u.spec, word[0]);
	if (!parse_class(word[1], &u.class))
		return wrong(r, "use: is none of decode, few, prompt and *:", word[1]);
	if (!parse_size(word[2], &u.rows, &u.cols))
		return wrong(r, "use: is no ROWSxCOLUMNS:", word[2]);
	if (!sherd_variant_parse(&u.variant, word[3]))
		return wrong(r, "use: is no variant:", word[3]);
	for (i = 4; i < n && !rc; i++)
		if (!read_number(r, word[i], "us", 1e12, &u.us, &rc) &&
		    !read_number(r, word[i], "default_us", 1e12, &u.default_us, &rc) &&
		    !read_number(r, word[i], "share", 100, &u.share, &rc))
			rc = wrong(r, "use: is not understood:", word[i]);
	if (rc)
		return rc;
	rc = sherd_tune_add(r->t, &u, r->err);
	return rc ? sherd_fail_prefix(r->err, rc, "%s: line %d", r->name, r->line) : 0;
}

static int split(char *text, char *word[WORDS])
{
	char *save = NULL, *w = strtok_r(text, " \t", &save);
	int n = 0;

	for (; w && n < WORDS; w = strtok_r(NULL, " \t", &save))
		word[n++] = w;
	return w ? WORDS + 1 : n;
}

/* A line without its comment and the blanks around it. */
static int read_line(struct reader *r, char *line)
{
	const struct {
		const char *key;
		char *to;
		size_t size;
	} texts[] = {
		{ "name", r->t->name, sizeof(r->t->name) },
		{ "vendor", r->t->vendor, sizeof(r->t->vendor) },
		{ "driver", r->t->driver, sizeof(r->t->driver) },
		{ "measured", r->t->measured, sizeof(r->t->measured) },
		{ "untested", r->t->untested, sizeof(r->t->untested) },
	};
	size_t len = strcspn(line, " \t"), i;
	char *rest = line + len, *word[WORDS];
	int n;

	rest += strspn(rest, " \t");
	line[len] = 0;
	for (i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strcmp(line, texts[i].key))
			return read_text(r, texts[i].to, texts[i].size, rest);
	if (!strcmp(line, "kernels"))
		return read_kernels(r, rest);
	if (!strcmp(line, "shape"))
		return read_shape(r, rest);
	if (!strcmp(line, "dot"))
		return read_dot(r, rest);
	if (strcmp(line, "use") && strcmp(line, "roof"))
		return wrong(r, "begins with an unknown word:", line);
	n = split(rest, word);
	if (n > WORDS)
		return wrong(r, "has too many words", NULL);
	return *line == 'u' ? read_use(r, word, n) : read_roof(r, word, n);
}

static void trim(char *line)
{
	size_t len;

	if (*line == '#')
		*line = 0;
	for (char *p = line; (p = strchr(p, '#')); p++)
		if (p > line && (p[-1] == ' ' || p[-1] == '\t')) {
			*p = 0;
			break;
		}
	for (len = strlen(line); len && (line[len - 1] == ' ' || line[len - 1] == '\t');)
		line[--len] = 0;
}

/* @text: bytes of a file that may be anything. */
static int check_bytes(const char *text, size_t len, const char *name, struct sherd_error *err)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = text[i];

		if ((c < 32 && c != '\n' && c != '\t') || c == 127)
			return sherd_fail(err, -EINVAL,
					  "%s: is no tune file: byte 0x%02x at %zu is no text",
					  name, c, i);
	}
	return 0;
}

static int read_lines(struct reader *r, const char *text, size_t len)
{
	char line[LINE_MAX_];
	int rc = 0;

	for (r->line = 1; len && !rc; r->line++) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		if (n >= sizeof(line))
			return wrong(r, "is too long", NULL);
		memcpy(line, text, n);
		line[n] = 0;
		trim(line);
		if (r->line == 1)
			rc = strcmp(line, HEAD) ? wrong(r, "is not \"" HEAD "\":", line) : 0;
		else if (*line)
			rc = read_line(r, line);
		n += end != NULL;
		text += n;
		len -= n;
	}
	if (!rc && r->line == 1)
		return sherd_fail(r->err, -EINVAL, "%s: is no tune file: it is empty", r->name);
	if (!rc && (!r->has_kernels || !r->has_shape))
		return sherd_fail(r->err, -EINVAL, "%s: has no line \"%s\"", r->name,
				  r->has_kernels ? "shape" : "kernels");
	return rc;
}

int sherd_tune_parse(struct sherd_tune *t, const char *text, size_t len, const char *name,
		     struct sherd_error *err)
{
	struct reader r = { .t = t, .name = name, .err = err };
	int rc = check_bytes(text, len, name, err);

	memset(t, 0, sizeof(*t));
	if (!rc)
		rc = read_lines(&r, text, len);
	if (rc)
		sherd_tune_free(t);
	return rc;
}

/* ------------------------------------------------------------------ writing */

static void print_text(FILE *f, const char *key, const char *value)
{
	if (*value)
		fprintf(f, "%-8s %s\n", key, value);
}

static void print_use(FILE *f, const struct sherd_tune_use *u)
{
	char variant[SHERD_VARIANT_TEXT], size[32] = "*";

	sherd_variant_print(&u->variant, variant);
	if (u->rows)
		snprintf(size, sizeof(size), "%dx%d", u->rows, u->cols);
	fprintf(f, "use      %-18s %-6s %-12s %s", u->spec,
		u->class < 0 ? "*" : sherd_tune_class_name(u->class), size, variant);
	if (u->us > 0)
		fprintf(f, " us=%.4g", u->us);
	if (u->default_us > 0)
		fprintf(f, " default_us=%.4g", u->default_us);
	if (u->share > 0)
		fprintf(f, " share=%.2f", u->share);
	fputc('\n', f);
}

char *sherd_tune_print(const struct sherd_tune *t)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fprintf(f, HEAD
		"\n"
		"# Which variant of a kernel is fastest on this device, at equal bits; see\n"
		"# Documentation/tuning.rst. Times are microseconds of a launch, shares are of\n"
		"# the nearer of the two roofs.\n");
	print_text(f, "name", t->name);
	print_text(f, "vendor", t->vendor);
	print_text(f, "driver", t->driver);
	print_text(f, "shape", t->shape == SHERD_SHAPE_WIDE ? "wide" : "simt");
	print_text(f, "dot", t->dot);
	print_text(f, "kernels", t->kernels);
	print_text(f, "measured", t->measured);
	print_text(f, "untested", t->untested);
	if (t->read > 0 && t->dot_rate > 0)
		fprintf(f, "roof     read=%.4g dot=%.4g\n", t->read, t->dot_rate);
	for (int i = 0; i < t->n_uses; i++)
		print_use(f, &t->uses[i]);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

int sherd_tune_write(const struct sherd_tune *t, const char *path, struct sherd_error *err)
{
	struct sherd_outfile out;
	char *text = sherd_tune_print(t);
	int rc;

	if (!text)
		return sherd_fail_oom(err, 1, "a tune file");
	rc = sherd_outfile_open(&out, path, err);
	if (!rc) {
		rc = sherd_write_all(out.fd, text, strlen(text), path, err);
		if (rc)
			sherd_outfile_abort(&out);
		else
			rc = sherd_outfile_commit(&out, err);
	}
	free(text);
	return rc;
}
