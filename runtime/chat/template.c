/* SPDX-License-Identifier: MIT */
/*
 * template: the engine's face (template.h), and what its files share: memory with a limit, work
 * that is counted, and the failure that sticks.
 */
#include <stdlib.h>
#include "chat/tmpl.h"

#define SOURCE_MAX ((size_t)1 << 20)
#define BLOCK	   ((size_t)64 << 10)

/* --------------------------------------------------------------- memory */

struct tmpl_block {
	struct tmpl_block *next;
	size_t used, room;
	char data[] __attribute__((aligned(16)));
};

void *tmpl_alloc(struct tmpl_arena *a, size_t size)
{
	struct tmpl_block *b = a->blocks;
	void *p;

	if (size > TMPL_MEMORY)
		return NULL;
	size = ROUND_UP(size, 16);
	if (!b || b->room - b->used < size) {
		size_t room = MAX(size, BLOCK);

		if (a->held + room > TMPL_MEMORY)
			return NULL;
		b = calloc(1, sizeof(*b) + room);
		if (!b)
			return NULL;
		b->room = room;
		b->next = a->blocks;
		a->blocks = b;
		a->held += room;
	}
	p = b->data + b->used;
	b->used += size;
	return p;
}

void tmpl_arena_free(struct tmpl_arena *a)
{
	while (a->blocks) {
		struct tmpl_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
	a->held = 0;
}

void *tmpl_get(struct tmpl *t, size_t n, size_t size)
{
	void *p = NULL;
	size_t bytes;

	if (!sherd_mul_ok(n, size, &bytes) || !tmpl_work(t, bytes))
		return tmpl_fail_oom(t), NULL;
	p = tmpl_alloc(t->arena, bytes);
	if (!p)
		tmpl_fail_oom(t);
	return p;
}

/* -------------------------------------------------------------- failures */

struct tmpl_value tmpl_fail_as(struct tmpl *t, int rc, const char *fmt, ...)
{
	char msg[400];
	va_list ap;

	if (!t->rc) {
		t->rc = rc;
		va_start(ap, fmt);
		vsnprintf(msg, sizeof(msg), fmt, ap);
		va_end(ap);
		sherd_fail(t->err, rc, "the chat template's line %d: %s", t->line, msg);
	}
	return tmpl_undefined("", 0);
}

struct tmpl_value tmpl_fail_oom(struct tmpl *t)
{
	return tmpl_fail_as(t, -E2BIG, "more than %zu MiB of memory are wanted, or there is no more",
			    TMPL_MEMORY >> 20);
}

bool tmpl_work(struct tmpl *t, size_t bytes)
{
	t->steps += 1 + bytes / 32;
	if (t->steps > TMPL_STEPS)
		tmpl_fail_as(t, -E2BIG, "it has worked for too long (%llu steps)",
			     (unsigned long long)TMPL_STEPS);
	return !t->rc;
}

bool tmpl_enter(struct tmpl *t, int limit)
{
	if (t->depth++ >= limit)
		tmpl_fail_as(t, -E2BIG, "it is nested too deeply (%d levels)", limit);
	return !t->rc;
}

/* ----------------------------------------------------------------- names */

static uint32_t hash(const char *s, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)s[i]) * 16777619u;
	return h % TMPL_NAMES;
}

const char *tmpl_intern(struct tmpl *t, const char *s, size_t n)
{
	struct tmpl_name **slot = &t->template->names[hash(s, n)], *name;
	size_t hops = 0;

	for (name = *slot; name; name = name->next, hops++)
		if (name->n == n && !memcmp(name->s, s, n))
			break;
	tmpl_work(t, hops * sizeof(name));
	if (name)
		return name->s;
	if (t->arena != &t->template->arena)
		return NULL;
	name = tmpl_get(t, 1, sizeof(*name) + n);
	if (!name)
		return "";
	memcpy(name->s, s, n);
	name->n = (uint32_t)n;
	name->next = *slot;
	*slot = name;
	return name->s;
}

/* ------------------------------------------------------------------ calls */

static int parse(struct sherd_template *m, const char *text, size_t len, struct sherd_error *err)
{
	struct tmpl t = { .arena = &m->arena, .template = m, .err = err, .line = 1 };
	int rc;

	m->loop = tmpl_intern(&t, "loop", 4);
	m->caller = tmpl_intern(&t, "caller", 6);
	m->varargs = tmpl_intern(&t, "varargs", 7);
	m->kwargs = tmpl_intern(&t, "kwargs", 6);
	rc = tmpl_lex(&t, text, len);
	if (!rc)
		rc = tmpl_parse(&t, &m->body);
	free(t.tokens);
	return rc;
}

int sherd_template_parse(struct sherd_template **tmpl, const char *text, size_t len,
			 struct sherd_error *err)
{
	struct sherd_template *m;
	int rc;

	*tmpl = NULL;
	if (len > SOURCE_MAX)
		return sherd_fail(err, -E2BIG, "a chat template of %zu bytes is too long (%zu)",
				  len, SOURCE_MAX);
	m = sherd_calloc(1, sizeof(*m));
	if (!m)
		return sherd_fail_oom(err, sizeof(*m), "a chat template");
	rc = parse(m, text, len, err);
	if (rc)
		sherd_template_free(m);
	else
		*tmpl = m;
	return rc;
}

void sherd_template_free(struct sherd_template *m)
{
	if (!m)
		return;
	tmpl_arena_free(&m->arena);
	free(m);
}

static void bind_all(struct tmpl *t, const json_t *vars)
{
	const char *key;
	json_t *j;

	json_object_foreach((json_t *)vars, key, j) {
		const char *name = tmpl_intern(t, key, strlen(key));

		if (name) /* else the template does not ask for it */
			tmpl_bind(t, t->scope, name, tmpl_from_json(t, j));
	}
}

int sherd_template_render(const struct sherd_template *m, const json_t *vars, time_t now,
			  char **out, size_t *len, struct sherd_error *err)
{
	struct tmpl_arena arena = { 0 };
	struct tmpl_scope top = { 0 };
	struct tmpl_text text = { 0 };
	/* the names are only looked for: nothing of the template changes */
	struct tmpl t = { .arena = &arena,
			  .template = (struct sherd_template *)m,
			  .err = err,
			  .line = 1,
			  .scope = &top,
			  .out = &text,
			  .now = now ? now : time(NULL) };

	*out = NULL;
	*len = 0;
	bind_all(&t, vars);
	tmpl_exec(&t, m->body);
	if (!t.rc) {
		*out = malloc(text.n + 1);
		if (*out) {
			if (text.n)
				memcpy(*out, text.s, text.n);
			(*out)[text.n] = '\0';
			*len = text.n;
		} else {
			tmpl_fail_oom(&t);
		}
	}
	tmpl_arena_free(&arena);
	return t.rc;
}
