/* SPDX-License-Identifier: MIT */
/* talk: see talk.h. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "talk.h"

#define FILE_MAX ((size_t)64 << 20)

static bool is(const struct talk *t, int i, const char *role)
{
	return i >= 0 && i < t->n && !strcmp(t->v[i].role, role);
}

/* Messages from @from to before @to go. */
static void drop(struct talk *t, int from, int to)
{
	for (int i = from; i < to; i++) {
		free((char *)t->v[i].role);
		free((char *)t->v[i].content);
	}
	memmove(t->v + from, t->v + to, (size_t)(t->n - to) * sizeof(*t->v));
	t->n -= to - from;
}

void talk_free(struct talk *t)
{
	if (t->n)
		drop(t, 0, t->n);
	free(t->v);
	*t = (struct talk){ 0 };
}

int talk_first(const struct talk *t)
{
	return is(t, 0, "system");
}

bool talk_add(struct talk *t, const char *role, const char *content)
{
	struct sherd_message m;

	if (t->n == t->room) {
		int room = t->room ? t->room * 2 : 8;
		struct sherd_message *more = realloc(t->v, (size_t)room * sizeof(*more));

		if (!more)
			return false;
		t->v = more;
		t->room = room;
	}
	m.role = strdup(role);
	m.content = strdup(content);
	if (!m.role || !m.content) {
		free((char *)m.role);
		free((char *)m.content);
		return false;
	}
	t->v[t->n++] = m;
	return true;
}

bool talk_system(struct talk *t, const char *content)
{
	struct sherd_message last;

	if (talk_first(t))
		drop(t, 0, 1);
	if (!*content)
		return true;
	if (!talk_add(t, "system", content))
		return false;
	last = t->v[t->n - 1];
	memmove(t->v + 1, t->v, (size_t)(t->n - 1) * sizeof(*t->v));
	t->v[0] = last;
	return true;
}

bool talk_reopen(struct talk *t)
{
	if (is(t, t->n - 1, "assistant"))
		drop(t, t->n - 1, t->n);
	return is(t, t->n - 1, "user");
}

bool talk_undo(struct talk *t)
{
	if (!talk_reopen(t))
		return false;
	drop(t, t->n - 1, t->n);
	return true;
}

void talk_clear(struct talk *t)
{
	int from = talk_first(t);

	if (t->n > from)
		drop(t, from, t->n);
}

/* ---------------------------------------------------------------- forgetting */

/* Where the talk goes on without its @k oldest turns; t->n: it has no more than that. */
static int start_without(const struct talk *t, int k)
{
	int at = talk_first(t);

	while (k > 0 && ++at < t->n)
		k -= is(t, at, "user");
	return at;
}

int talk_rest(const struct talk *t, int k, struct sherd_message **v)
{
	int from = talk_first(t), at = start_without(t, k), n = from + t->n - at;

	*v = sherd_calloc((size_t)n + 1, sizeof(**v));
	if (!*v)
		return -1;
	for (int i = 0; i < n; i++)
		(*v)[i] = t->v[i < from ? i : at + i - from];
	return n;
}

static int length_without(const struct talk *t, int k, talk_length_fn length, void *ctx)
{
	struct sherd_message *v;
	int n = talk_rest(t, k, &v), tokens = n < 0 ? n : length(ctx, v, n);

	free(v);
	return tokens;
}

int talk_surplus(const struct talk *t, int most, talk_length_fn length, void *ctx)
{
	int few = -1, enough = 0; /* with so many turns forgotten the prompt is too long, and is not */

	for (int i = talk_first(t) + 1; i < t->n; i++)
		enough += is(t, i, "user");
	while (enough - few > 1) {
		int k = few + (enough - few) / 2, n = length_without(t, k, length, ctx);

		if (n < 0)
			return n;
		if (n > most)
			few = k;
		else
			enough = k;
	}
	return enough;
}

void talk_forget(struct talk *t, int k)
{
	int from = talk_first(t), at = start_without(t, k);

	if (at > from)
		drop(t, from, at);
}

/* -------------------------------------------------------------------- files */

char *talk_text(const struct talk *t)
{
	json_t *list = json_array(), *j;
	char *text;

	for (int i = 0; i < t->n; i++)
		if (json_array_append_new(list, json_pack("{s:s, s:s}", "role", t->v[i].role,
							  "content", t->v[i].content))) {
			json_decref(list);
			return NULL;
		}
	j = json_pack("{s:i, s:o}", "sherd_chat", 1, "messages", list);
	text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
	json_decref(j);
	return text;
}

int talk_save(const struct talk *t, const char *path, struct sherd_error *err)
{
	char *text = talk_text(t);
	struct sherd_outfile o;
	int rc;

	if (!text)
		return sherd_fail_oom(err, 0, "a talk's file");
	rc = sherd_outfile_open(&o, path, err);
	if (!rc) {
		rc = sherd_write_all(o.fd, text, strlen(text), path, err);
		rc = rc ? rc : sherd_write_all(o.fd, "\n", 1, path, err);
		if (rc)
			sherd_outfile_abort(&o);
		else
			rc = sherd_outfile_commit(&o, err);
	}
	free(text);
	return rc;
}

static int take(struct talk *t, const json_t *list, const char *path, struct sherd_error *err)
{
	const char *role, *content;
	size_t i;
	json_t *m;

	json_array_foreach(list, i, m) {
		/* a system prompt stands first, or nowhere */
		if (json_unpack(m, "{s:s, s:s !}", "role", &role, "content", &content) ||
		    (!strcmp(role, "system") && i) ||
		    (strcmp(role, "system") && strcmp(role, "user") && strcmp(role, "assistant")))
			return sherd_fail(err, -EINVAL,
					  "%s: its message %zu is none of a system, user or "
					  "assistant",
					  path, i + 1);
		if (!talk_add(t, role, content))
			return sherd_fail_oom(err, 0, "a talk");
	}
	return 0;
}

int talk_parse(struct talk *t, const char *text, size_t size, const char *name,
	       struct sherd_error *err)
{
	struct talk parsed = { 0 };
	json_error_t e;
	json_t *j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e), *list;
	int version, rc;

	if (!j || json_unpack(j, "{s:i, s:o !}", "sherd_chat", &version, "messages", &list) ||
	    version != 1 || !json_is_array(list))
		rc = sherd_fail(err, -EINVAL, "%s: is no talk that sherd chat saved", name);
	else
		rc = take(&parsed, list, name, err);
	json_decref(j);
	if (rc) {
		talk_free(&parsed);
		return rc;
	}
	talk_free(t);
	*t = parsed;
	return 0;
}

int talk_load(struct talk *t, const char *path, struct sherd_error *err)
{
	char *text;
	size_t size;
	int rc = sherd_read_file(path, FILE_MAX, &text, &size, err);

	rc = rc ? rc : talk_parse(t, text, size, path, err);
	free(text);
	return rc;
}
