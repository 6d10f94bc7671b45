/* SPDX-License-Identifier: MIT */
/*
 * chat: see sherd.h. A template gets what transformers would give it: messages, the tokens that
 * begin and end a text, whether an answer is to come, no tools and no documents. Its text is
 * tokenized as it is, and begins with the token that the model wants at every text's beginning: once,
 * whether the template puts it or not. llama.cpp does the same with the same file; transformers puts
 * none where the template has none.
 */
#include <stdlib.h>
#include "chat/chat.h"
#include "chat/template.h"

struct sherd_chat {
	const struct sherd_tokenizer *tok;
	struct sherd_template *template;
	json_t *vars; /* beside messages and add_generation_prompt */
	int32_t bos;  /* that every text begins with; -1: none */
};

/* --------------------------------------------------------------- built-ins */

#define SUFFIX ".jinja"

bool sherd_chat_builtin(int i, char name[32], char about[128])
{
	const struct sherd_chat_builtin *b = &sherd_chat_builtins[i];
	const char *from, *to;

	if (i < 0 || i >= sherd_n_chat_builtins)
		return false;
	snprintf(name, 32, "%.*s", (int)(strlen(b->name) - strlen(SUFFIX)), b->name);
	from = strstr(b->text, "#}\n{# ");
	to = from ? strstr(from + 6, " #}") : NULL;
	snprintf(about, 128, "%.*s", to ? (int)(to - from - 6) : 0, to ? from + 6 : "");
	return true;
}

const char *sherd_chat_builtin_text(const char *name)
{
	for (int i = 0; i < sherd_n_chat_builtins; i++) {
		const char *n = sherd_chat_builtins[i].name;

		if (strlen(n) == strlen(name) + strlen(SUFFIX) && !strncmp(n, name, strlen(name)))
			return sherd_chat_builtins[i].text;
	}
	return NULL;
}

/* ----------------------------------------------------------------- opening */

/* The token's name; "" where there is none. */
static json_t *token_name(const struct sherd_tokenizer *tok, int32_t id)
{
	char buf[256];
	int n = id < 0 ? 0 : sherd_token_text(tok, id, true, buf, sizeof(buf));
	json_t *s = json_stringn(buf, n < 0 || n > (int)sizeof(buf) ? 0 : (size_t)n);

	return s ? s : json_string("");
}

/* Does the tokenizer put its BOS before a text? */
static int find_bos(struct sherd_chat *c, struct sherd_error *err)
{
	int32_t *ids;
	int n, rc = sherd_tokenize(c->tok, "", 0, SHERD_TOK_SPECIAL, &ids, &n, err);

	if (rc)
		return rc;
	c->bos = n && ids[0] == sherd_tokenizer_bos(c->tok) ? ids[0] : -1;
	free(ids);
	return 0;
}

static int open_it(struct sherd_chat *c, const char *text, struct sherd_error *err)
{
	int rc;

	if (!text)
		text = sherd_tokenizer_chat_template(c->tok);
	if (!text)
		return sherd_fail(err, -ENOENT, "the model's file has no chat template");
	c->vars = json_pack("{s:n, s:n, s:o, s:o}", "tools", "documents", "bos_token",
			    token_name(c->tok, sherd_tokenizer_bos(c->tok)), "eos_token",
			    token_name(c->tok, sherd_tokenizer_eos(c->tok)));
	if (!c->vars)
		return sherd_fail_oom(err, 0, "a chat template's variables");
	rc = find_bos(c, err);
	return rc ? rc : sherd_template_parse(&c->template, text, strlen(text), err);
}

int sherd_chat_open(struct sherd_chat **chat, const struct sherd_tokenizer *tok, const char *text,
		    struct sherd_error *err)
{
	struct sherd_chat *c = sherd_calloc(1, sizeof(*c));
	int rc;

	*chat = NULL;
	if (!c)
		return sherd_fail_oom(err, sizeof(*c), "a chat");
	c->tok = tok;
	rc = open_it(c, text, err);
	if (rc)
		sherd_chat_close(c);
	else
		*chat = c;
	return rc;
}

void sherd_chat_close(struct sherd_chat *c)
{
	if (!c)
		return;
	sherd_template_free(c->template);
	json_decref(c->vars);
	free(c);
}

int sherd_chat_set(struct sherd_chat *c, const char *name, const char *json,
		   struct sherd_error *err)
{
	json_error_t e;
	json_t *v = json_loads(json, JSON_DECODE_ANY, &e);

	if (!v)
		return sherd_fail(err, -EINVAL, "%s: '%s' is no JSON: %s", name, json, e.text);
	if (json_object_set_new(c->vars, name, v))
		return sherd_fail(err, -EINVAL, "a template has no variable '%s'", name);
	return 0;
}

/* --------------------------------------------------------------- rendering */

static json_t *pack_messages(const struct sherd_message *m, int n, struct sherd_error *err)
{
	json_t *list = json_array(), *one;

	for (int i = 0; i < n; i++) {
		one = json_pack("{s:s, s:s}", "role", m[i].role, "content", m[i].content);
		if (!one || json_array_append_new(list, one)) {
			sherd_fail(err, -EILSEQ, "a message (%d, of role %s) is no valid UTF-8",
				   i + 1, m[i].role);
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

int sherd_chat_text(const struct sherd_chat *c, const struct sherd_message *messages, int n,
		    bool answer, char **text, size_t *len, struct sherd_error *err)
{
	json_t *list = pack_messages(messages, n, err), *vars;
	int rc;

	*text = NULL;
	*len = 0;
	if (!list)
		return -EILSEQ;
	vars = json_copy(c->vars);
	json_object_set_new(vars, "messages", list);
	json_object_set_new(vars, "add_generation_prompt", json_boolean(answer));
	rc = sherd_template_render(c->template, vars, 0, text, len, err);
	json_decref(vars);
	return rc;
}

/* The model's BOS before @ids, which have room for one more. */
static void put_bos(const struct sherd_chat *c, int32_t *ids, int *n)
{
	if (c->bos < 0 || (*n && ids[0] == c->bos))
		return;
	memmove(ids + 1, ids, (size_t)*n * sizeof(*ids));
	ids[0] = c->bos;
	++*n;
}

int sherd_chat_tokens(const struct sherd_chat *c, const struct sherd_message *messages, int n,
		      bool answer, int32_t **ids, int *n_ids, struct sherd_error *err)
{
	int32_t *more;
	char *text;
	size_t len;
	int rc = sherd_chat_text(c, messages, n, answer, &text, &len, err);

	*ids = NULL;
	*n_ids = 0;
	if (rc)
		return rc;
	rc = sherd_tokenize(c->tok, text, len, SHERD_TOK_PARSE, ids, n_ids, err);
	free(text);
	if (rc)
		return rc;
	more = realloc(*ids, ((size_t)*n_ids + 1) * sizeof(*more));
	if (!more) {
		free(*ids);
		*ids = NULL;
		return sherd_fail_oom(err, (size_t)*n_ids * sizeof(*more), "a prompt");
	}
	*ids = more;
	put_bos(c, more, n_ids);
	return 0;
}
