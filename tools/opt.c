/* SPDX-License-Identifier: MIT */
/*
 * opt: the option parser of all sub-commands, driven by a table that also makes the help text, so
 * that neither can say what the other does not do. Options and other arguments may be mixed.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "tool.h"

#define HELP_COLUMN 26 /* where the help texts begin */
#define HELP_WIDTH  80

struct parse {
	const struct tool *tool;
	const struct opt *opts;
	char **argv;
	int argc, next; /* next: argument to look at */
	char name[64]; /* "-n" or "--temp": the option at hand, as it was typed */
};

static bool is_end(const struct opt *o)
{
	return !o->short_name && !o->long_name;
}

/* ----------------------------------------------------------------- help */

/* The words of @text, @n bytes without a line end, from column @indent on. */
static void print_words(const char *text, size_t n, int indent)
{
	const char *end = text + n;
	int col = indent;

	while (text < end) {
		const char *space = memchr(text, ' ', end - text);
		int word = (int)((space ? space : end) - text);

		if (col > indent && col + 1 + word > HELP_WIDTH) {
			printf("\n%*s", indent, "");
			col = indent;
		} else if (col > indent) {
			putchar(' ');
			col++;
		}
		printf("%.*s", word, text);
		col += word;
		text += word + (space ? 1 : 0);
	}
	putchar('\n');
}

/* Line by line; those that begin with a space are examples, and stay as they are. */
static void print_wrapped(const char *text, int indent)
{
	for (bool first = true; *text; first = false) {
		size_t n = strcspn(text, "\n");

		if (!first)
			printf("%*s", indent, "");
		if (*text == ' ')
			printf("%.*s\n", (int)n, text);
		else
			print_words(text, n, indent);
		text += n + (text[n] ? 1 : 0);
	}
}

static void print_opt(const struct opt *o)
{
	char left[80];
	int n;

	n = snprintf(left, sizeof(left), "  %c%c%s%s%s%s%s", o->short_name ? '-' : ' ',
		     o->short_name ? o->short_name : ' ',
		     o->long_name ? (o->short_name ? ", " : "  ") : "", o->long_name ? "--" : "",
		     o->long_name ? o->long_name : "", o->arg ? " " : "", o->arg ? o->arg : "");
	fputs(left, stdout);
	if (n + 2 > HELP_COLUMN)
		printf("\n%*s", HELP_COLUMN, "");
	else
		printf("%*s", HELP_COLUMN - n, "");
	print_wrapped(o->help, HELP_COLUMN);
}

static void print_help(const struct tool *t, const struct opt *opts)
{
	static const struct opt help = { 'h', "help", OPT_FLAG, NULL, 0, 0, NULL, "this text" };

	printf("Usage: sherd %s %s\n\n", t->name, t->synopsis);
	print_wrapped(t->about, 0);
	puts("\nOptions:");
	for (const struct opt *o = opts; !is_end(o); o++)
		print_opt(o);
	print_opt(&help);
}

/* For shells that complete: an option a line, its value's name, and the first words of its help. */
static void print_for_shells(const struct opt *opts)
{
	for (const struct opt *o = opts; !is_end(o); o++) {
		int n = (int)strcspn(o->help, "\n");

		if (o->long_name)
			printf("--%s\t%s\t%.*s\n", o->long_name, o->arg ? o->arg : "", n, o->help);
		if (o->short_name)
			printf("-%c\t%s\t%.*s\n", o->short_name, o->arg ? o->arg : "", n, o->help);
	}
	puts("--help\t\tthe command's help");
}

/* --------------------------------------------------------------- values */

static int wrong_number(const struct parse *p, const char *value)
{
	return tool_usage(p->tool, "%s: '%s' is not a number", p->name, value);
}

static int check_range(const struct parse *p, const struct opt *o, double v, const char *value)
{
	if (o->lo < o->hi && !(v >= o->lo && v <= o->hi))
		return tool_usage(p->tool, "%s: %s is out of range (%.10g to %.10g)", p->name,
				  value, o->lo, o->hi);
	return 0;
}

/* A whole decimal number; @end is where it stops. */
static bool whole(const char *s, long long *v, char **end)
{
	if (!isdigit((unsigned char)s[s[0] == '-' || s[0] == '+']))
		return false;
	errno = 0;
	*v = strtoll(s, end, 10);
	return true;
}

static int set_int(const struct parse *p, const struct opt *o, const char *value)
{
	long long v;
	char *end;

	if (!whole(value, &v, &end) || *end)
		return wrong_number(p, value);
	if (errno || v < INT_MIN || v > INT_MAX)
		return tool_usage(p->tool, "%s: %s is out of range", p->name, value);
	*(int *)o->out = (int)v;
	return check_range(p, o, (double)v, value);
}

static int read_u64(const struct parse *p, const char *value, uint64_t *out)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)value[0]))
		return wrong_number(p, value);
	errno = 0;
	v = strtoull(value, &end, 10);
	if (*end)
		return wrong_number(p, value);
	if (errno)
		return tool_usage(p->tool, "%s: %s is out of range", p->name, value);
	*out = v;
	return 0;
}

static int set_u64(const struct parse *p, const struct opt *o, const char *value)
{
	uint64_t *v = o->out;
	int rc = read_u64(p, value, v);

	return rc ? rc : check_range(p, o, (double)*v, value);
}

static int set_seed(const struct parse *p, const struct opt *o, const char *value)
{
	struct opt_seed *seed = o->out;

	seed->given = strcmp(value, "-1") != 0;
	return seed->given ? read_u64(p, value, &seed->v) : 0;
}

static int set_float(const struct parse *p, const struct opt *o, const char *value)
{
	char *end;
	float v = strtof(value, &end);

	if (end == value || *end || isspace((unsigned char)value[0]) || !isfinite(v))
		return wrong_number(p, value);
	*(float *)o->out = v;
	return check_range(p, o, v, value);
}

static int add_str(const struct parse *p, const struct opt *o, const char *value)
{
	struct opt_strs *list = o->out;
	const char **v = realloc(list->v, (list->n + 1) * sizeof(*v));

	if (!v)
		return tool_failf(p->tool, "out of memory");
	list->v = v;
	v[list->n++] = value;
	return 0;
}

static int add_int(const struct parse *p, const struct opt *o, int value)
{
	struct opt_ints *list = o->out;
	int *v = realloc(list->v, (list->n + 1) * sizeof(*v));

	if (!v)
		return tool_failf(p->tool, "out of memory");
	list->v = v;
	v[list->n++] = value;
	return 0;
}

static int add_ints(const struct parse *p, const struct opt *o, const char *value)
{
	const char *s = value;
	char one[32], *end;
	long long v;
	int rc;

	for (;;) {
		if (!whole(s, &v, &end) || (*end && *end != ','))
			return tool_usage(p->tool, "%s: '%s' is not a list of numbers like 4,12",
					  p->name, value);
		snprintf(one, sizeof(one), "%lld", v);
		if (errno || v < INT_MIN || v > INT_MAX)
			return tool_usage(p->tool, "%s: %s is out of range", p->name, one);
		rc = check_range(p, o, (double)v, one);
		if (!rc)
			rc = add_int(p, o, (int)v);
		if (rc || !*end)
			return rc;
		s = end + 1;
	}
}

static int set(const struct parse *p, const struct opt *o, const char *value)
{
	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->out = true;
		return 0;
	case OPT_INT:
		return set_int(p, o, value);
	case OPT_U64:
		return set_u64(p, o, value);
	case OPT_SEED:
		return set_seed(p, o, value);
	case OPT_FLOAT:
		return set_float(p, o, value);
	case OPT_STR:
		*(const char **)o->out = value;
		return 0;
	case OPT_STRS:
		return add_str(p, o, value);
	case OPT_INTS:
		return add_ints(p, o, value);
	}
	return 0;
}

/* -------------------------------------------------------------- parsing */

static int unknown(const struct parse *p, const char *arg, const char *name, size_t len)
{
	const char *nearest = NULL;
	char word[32];
	size_t best = 3;

	snprintf(word, sizeof(word), "%.*s", (int)len, name);
	for (const struct opt *o = p->opts; len > 1 && !is_end(o); o++) {
		size_t d = o->long_name ? sherd_distance(word, o->long_name) : best;

		if (d < best) {
			best = d;
			nearest = o->long_name;
		}
	}
	if (nearest)
		return tool_usage(p->tool, "there is no option '%s'; did you mean '--%s'?", arg,
				  nearest);
	return tool_usage(p->tool, "there is no option '%s'", arg);
}

static const char *take_value(struct parse *p, const struct opt *o)
{
	if (p->next < p->argc)
		return p->argv[p->next++];
	tool_usage(p->tool, "%s needs a value (%s)", p->name, o->arg ? o->arg : "VALUE");
	return NULL;
}

static int parse_long(struct parse *p, const char *arg)
{
	const char *name = arg + 2, *eq = strchr(name, '='), *value = NULL;
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct opt *o;

	for (o = p->opts; !is_end(o); o++)
		if (o->long_name && strlen(o->long_name) == len && !memcmp(o->long_name, name, len))
			break;
	if (is_end(o))
		return unknown(p, arg, name, len);
	snprintf(p->name, sizeof(p->name), "--%s", o->long_name);
	if (o->kind == OPT_FLAG && eq)
		return tool_usage(p->tool, "%s takes no value", p->name);
	if (o->kind != OPT_FLAG) {
		value = eq ? eq + 1 : take_value(p, o);
		if (!value)
			return -1;
	}
	return set(p, o, value);
}

/* "-n 5", "-n5", and flags together: "-ve" */
static int parse_short(struct parse *p, const char *arg)
{
	for (const char *c = arg + 1; *c; c++) {
		const struct opt *o = p->opts;
		int rc;

		while (!is_end(o) && o->short_name != *c)
			o++;
		if (is_end(o))
			return unknown(p, arg, arg + 1, strlen(arg + 1));
		snprintf(p->name, sizeof(p->name), "-%c", *c);
		if (o->kind != OPT_FLAG) {
			const char *value = c[1] ? c + 1 : take_value(p, o);

			return value ? set(p, o, value) : -1;
		}
		rc = set(p, o, NULL);
		if (rc)
			return rc;
	}
	return 0;
}

int opt_parse(const struct tool *t, const struct opt *opts, int *argc, char **argv)
{
	struct parse p = { .tool = t, .opts = opts, .argv = argv, .argc = *argc, .next = 1 };
	int kept = 0, rc = 0;

	while (p.next < p.argc && !rc) {
		char *arg = argv[p.next++];

		if (!strcmp(arg, "--")) {
			while (p.next < p.argc)
				argv[kept++] = argv[p.next++];
		} else if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
			print_help(t, opts);
			return tool_flush(t) ? 1 : -1;
		} else if (!strcmp(arg, OPT_FOR_SHELLS)) {
			print_for_shells(opts);
			return tool_flush(t) ? 1 : -1;
		} else if (arg[0] != '-' || !arg[1]) {
			argv[kept++] = arg;
		} else if (arg[1] == '-') {
			rc = parse_long(&p, arg);
		} else {
			rc = parse_short(&p, arg);
		}
	}
	*argc = kept;
	return rc ? -1 : 0;
}

void opt_strs_free(struct opt_strs *s)
{
	free(s->v);
	s->v = NULL;
	s->n = 0;
}

void opt_ints_free(struct opt_ints *s)
{
	free(s->v);
	s->v = NULL;
	s->n = 0;
}
