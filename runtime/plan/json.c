/* SPDX-License-Identifier: MIT */
/*
 * json: the checks of json.h. jansson reads, refuses duplicate keys and bounds the nesting; what a
 * value may be is said here once for all files of this folder.
 */
#include "plan/json.h"

#include <stdio.h>
#include <stdlib.h>

int sherd_json_parse(struct sherd_json *f, const char *text, size_t size, const char *name,
		     struct sherd_error *err)
{
	json_error_t why;

	*f = (struct sherd_json){ .err = err };
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
	if (f->root)
		return 0;
	f->rc = -EINVAL;
	return sherd_fail(err, -EINVAL, "%s: is not JSON: line %d, column %d: %s", name, why.line,
			  why.column, why.text);
}

int sherd_json_open(struct sherd_json *f, const char *path, struct sherd_error *err)
{
	size_t size;
	char *text;
	int rc = sherd_read_file(path, SHERD_JSON_LIMIT, &text, &size, err);

	*f = (struct sherd_json){ .rc = rc };
	if (rc)
		return rc;
	rc = sherd_json_parse(f, text, size, path, err);
	free(text);
	return rc;
}

int sherd_json_close(struct sherd_json *f)
{
	json_decref(f->root);
	f->root = NULL;
	return f->rc;
}

struct sherd_json_at sherd_json_root(struct sherd_json *f)
{
	return (struct sherd_json_at){ .file = f, .j = f->root };
}

/* A name that is too long for the place is cut: it is for a person to find it. */
static struct sherd_json_at below(const struct sherd_json_at *at, const json_t *j, const char *fmt,
				  ...)
{
	struct sherd_json_at b = { .file = at->file, .j = j };
	size_t n = strlen(at->where);
	va_list ap;

	memcpy(b.where, at->where, n);
	va_start(ap, fmt);
	vsnprintf(b.where + n, sizeof(b.where) - n, fmt, ap);
	va_end(ap);
	return b;
}

struct sherd_json_at sherd_json_key(const struct sherd_json_at *at, const char *key)
{
	return below(at, json_object_get(at->j, key), "%s%s", at->where[0] ? "." : "", key);
}

struct sherd_json_at sherd_json_elem(const struct sherd_json_at *at, size_t i)
{
	return below(at, json_array_get(at->j, i), "[%zu]", i);
}

void sherd_json_fail(const struct sherd_json_at *at, const char *fmt, ...)
{
	struct sherd_json *f = at->file;
	struct sherd_error why;
	va_list ap;

	if (f->rc)
		return;
	va_start(ap, fmt);
	vsnprintf(why.msg, sizeof(why.msg), fmt, ap);
	va_end(ap);
	f->rc = sherd_fail(f->err, -EINVAL, "%s: %s%s%s", f->name, at->where,
			   at->where[0] ? ": " : "", why.msg);
}

static const char *kind(const json_t *j)
{
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a fraction";
	case JSON_NULL:
		return "null";
	default:
		return "true or false";
	}
}

/* Whether there is a value of the right kind. */
static bool is(const struct sherd_json_at *at, bool right, const char *wanted)
{
	if (at->file->rc)
		return false;
	if (!at->j)
		sherd_json_fail(at, "is missing: %s is needed", wanted);
	else if (!right)
		sherd_json_fail(at, "is %s where %s is needed", kind(at->j), wanted);
	return !at->file->rc;
}

static const char *nearest(const char *key, const char *const *keys)
{
	const char *found = NULL;
	size_t best = 4;

	for (; *keys; keys++) {
		size_t d = sherd_distance(key, *keys);

		if (d < best && d < strlen(*keys)) {
			best = d;
			found = *keys;
		}
	}
	return found;
}

bool sherd_json_keys(const struct sherd_json_at *at, const char *const *keys)
{
	const char *key, *near;
	json_t *value;

	if (!is(at, json_is_object(at->j), "an object"))
		return false;
	json_object_foreach((json_t *)at->j, key, value) {
		const char *const *k = keys;

		while (*k && strcmp(*k, key))
			k++;
		if (*k)
			continue;
		near = nearest(key, keys);
		if (near)
			sherd_json_fail(at, "there is no key \"%s\"; did you mean \"%s\"?", key,
					near);
		else
			sherd_json_fail(at, "there is no key \"%s\"", key);
	}
	return !at->file->rc;
}

size_t sherd_json_array(const struct sherd_json_at *at, size_t least, size_t most)
{
	size_t n = json_array_size(at->j);

	if (!is(at, json_is_array(at->j), "an array"))
		return 0;
	if (n < least || n > most)
		sherd_json_fail(at, "has %zu entries, and may have %zu to %zu", n, least, most);
	return at->file->rc ? 0 : n;
}

static const char *get_str(const struct sherd_json_at *at)
{
	return is(at, json_is_string(at->j), "a string") ? json_string_value(at->j) : NULL;
}

/* Also those that UTF-8 has two bytes for: terminals know them, too. */
static bool is_control(const char *s)
{
	const unsigned char *c = (const unsigned char *)s;

	return *c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0);
}

void sherd_json_str(const struct sherd_json_at *at, char *buf, size_t size)
{
	const char *s = get_str(at), *c;

	buf[0] = '\0';
	if (!s)
		return;
	for (c = s; *c && !is_control(c);)
		c++;
	if (*c)
		sherd_json_fail(at, "holds a control character");
	else if (!*s)
		sherd_json_fail(at, "is empty");
	else if (strlen(s) >= size)
		sherd_json_fail(at, "is %zu bytes long, and may have %zu", strlen(s), size - 1);
	else
		memcpy(buf, s, strlen(s) + 1);
}

int64_t sherd_json_int(const struct sherd_json_at *at, int64_t lo, int64_t hi)
{
	int64_t v = json_integer_value(at->j);

	if (!is(at, json_is_integer(at->j), "a whole number"))
		return lo;
	if (v >= lo && v <= hi)
		return v;
	sherd_json_fail(at, "is %lld, and may be %lld to %lld", (long long)v, (long long)lo,
			(long long)hi);
	return lo;
}

double sherd_json_num(const struct sherd_json_at *at, double lo, double hi)
{
	double v = json_number_value(at->j);

	if (!is(at, json_is_number(at->j), "a number"))
		return lo;
	if (v >= lo && v <= hi) /* NaN is neither */
		return v;
	sherd_json_fail(at, "is %g, and may be %g to %g", v, lo, hi);
	return lo;
}

int sherd_json_pick(const struct sherd_json_at *at, const char *const *names, int n)
{
	const char *s = get_str(at);
	char list[128] = "";
	size_t len = 0;

	for (int i = 0; i < n && s; i++) {
		if (!strcmp(s, names[i]))
			return i;
		if (len < sizeof(list))
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
						i ? ", " : "", names[i]);
	}
	if (s)
		sherd_json_fail(at, "\"%s\" is none of %s", s, list);
	return 0;
}

void sherd_json_hash(const struct sherd_json_at *at, char hex[SHERD_SHA256_HEX])
{
	sherd_json_str(at, hex, SHERD_SHA256_HEX);
	if (!at->file->rc && strspn(hex, "0123456789abcdef") != SHERD_SHA256_HEX - 1)
		sherd_json_fail(at, "\"%s\" is not 64 hexadecimal digits", hex);
}

int sherd_json_write(json_t *j, const char *path, struct sherd_error *err)
{
	char *text = j ? json_dumps(j, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
	struct sherd_outfile o;
	int rc;

	json_decref(j);
	if (!text)
		return sherd_fail(err, -ENOMEM, "%s: its text could not be made", path);
	rc = sherd_outfile_open(&o, path, err);
	if (rc)
		goto free_text;
	rc = sherd_write_all(o.fd, text, strlen(text), path, err);
	if (!rc)
		rc = sherd_write_all(o.fd, "\n", 1, path, err);
	if (rc)
		sherd_outfile_abort(&o);
	else
		rc = sherd_outfile_commit(&o, err);
free_text:
	free(text);
	return rc;
}
