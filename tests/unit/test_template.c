/* SPDX-License-Identifier: MIT */
/*
 * The template engine: it gives what Python's jinja2 gives (tests/golden/templates, made by
 * transformers), what is wrong with a template is said with its line, and none takes more than its
 * share of time, memory and stack. Then chats: messages to tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include "chat/template.h"
#include "tiny_vocab.h"

#define FOLDER "tests/golden/templates/"
#define NOW    1700000000 /* templates.py has the same */

static json_t *load(const char *name)
{
	char *path = sherd_asprintf(FOLDER "%s", name);
	json_error_t e;
	json_t *j = json_load_file(path, 0, &e);

	if (!j)
		print_error("%s: %s\n", path, e.text);
	assert_non_null(j);
	free(path);
	return j;
}

/* What a template makes of @vars: the text, or NULL with the sentence in @err. */
static char *render(const char *text, const json_t *vars, struct sherd_error *err)
{
	struct sherd_template *t;
	char *out = NULL;
	size_t len;

	err->msg[0] = '\0';
	if (!sherd_template_parse(&t, text, strlen(text), err))
		sherd_template_render(t, vars, NOW, &out, &len, err);
	sherd_template_free(t);
	return out;
}

static bool same(const char *name, const char *which, const char *text, const json_t *vars,
		 const json_t *want)
{
	struct sherd_error err;
	char *out = render(text, vars, &err);
	bool good = out ? json_is_string(want) && !strcmp(out, json_string_value(want)) :
			  json_is_null(want) && err.msg[0];

	if (!good)
		print_error("%s, %s:\nwanted: %s\n   got: %s\n", name, which,
			    json_is_string(want) ? json_string_value(want) : "a failure",
			    out ? out : err.msg);
	free(out);
	return good;
}

static bool same_file(const char *name, const char *text, json_t *chats)
{
	char *gold_name = sherd_asprintf("%s.gold", name);
	json_t *gold = load(gold_name), *vars;
	const char *which;
	bool good = true;

	assert_int_equal(json_object_size(gold), json_object_size(chats));
	json_object_foreach(chats, which, vars)
		good &= same(name, which, text, vars, json_object_get(gold, which));
	json_decref(gold);
	free(gold_name);
	return good;
}

/* ----------------------------------------------------------------- golden */

static void templates_of_every_family_give_what_transformers_gives(void **state)
{
	json_t *chats = load("conversations.json");
	struct dirent *e;
	DIR *d = opendir(FOLDER);
	int n = 0, bad = 0;

	(void)state;
	assert_non_null(d);
	while ((e = readdir(d))) {
		char *dot = strstr(e->d_name, ".jinja"), *path, *text;
		size_t size;

		if (!dot)
			continue;
		path = sherd_asprintf(FOLDER "%s", e->d_name);
		assert_int_equal(sherd_read_file(path, 1 << 20, &text, &size, NULL), 0);
		*dot = '\0';
		n++;
		bad += !same_file(e->d_name, text, chats);
		free(text);
		free(path);
	}
	closedir(d);
	json_decref(chats);
	assert_int_equal(bad, 0);
	assert_true(n >= 9);
}

static void templates_that_come_along_give_what_transformers_gives(void **state)
{
	json_t *chats = load("conversations.json");
	char name[32], about[128];
	int n = 0, bad = 0;

	(void)state;
	for (; sherd_chat_builtin(n, name, about); n++) {
		assert_true(strlen(about) > 5);
		bad += !same_file(name, sherd_chat_builtin_text(name), chats);
	}
	json_decref(chats);
	assert_int_equal(bad, 0);
	assert_true(n >= 12);
	assert_null(sherd_chat_builtin_text("chatm"));
	assert_null(sherd_chat_builtin_text("chatml.jinja"));
}

static void expressions_give_what_jinja2_gives(void **state)
{
	json_t *chats = load("conversations.json"), *gold = load("expressions.gold"), *pair;
	json_t *vars = json_object_get(chats, "values");
	size_t i, bad = 0;

	(void)state;
	assert_true(json_array_size(gold) >= 80);
	json_array_foreach(gold, i, pair)
		bad += !same("expressions", json_string_value(json_array_get(pair, 0)),
			     json_string_value(json_array_get(pair, 0)), vars,
			     json_array_get(pair, 1));
	json_decref(gold);
	json_decref(chats);
	assert_int_equal(bad, 0);
}

/* --------------------------------------------------------------- failures */

static void what_is_wrong_is_said_with_its_line(void **state)
{
	static const struct {
		const char *text, *says;
	} faults[] = {
		{ "a\n{{ b", "line 2: a tag that begins here does not end" },
		{ "\n\n{% if a %}\nb", "line 3: what begins here has no endif" },
		{ "{% for x in y %}{% else %}", "line 1: what begins here has no endfor" },
		{ "{% macro f(x) %}", "has no endmacro" },
		{ "{# a\n\n", "line 1: a comment that begins here does not end" },
		{ "a\n{% raw %}\n\n", "line 2: a raw block that begins here does not end" },
		{ "{{ 'abc }}", "a string that begins here does not end" },
		{ "{{ (1, 2] }}", "']' closes nothing" },
		{ "{{ a ! b }}", "'!' has no meaning here" },
		{ "{{ 1 2 }}", "'}}' is missing before a number" },
		{ "{{ a. }}", "a name is missing before }}" },
		{ "\n{% endif %}", "line 2: 'endif' ends nothing that is open" },
		{ "{% include 'x' %}", "there is no statement 'include' here" },
		{ "{% break %}", "break stands in no loop" },
		{ "{{ 99999999999999999999 }}", "is no number, or too large a one" },
		{ "\xff", "a byte is no UTF-8" },
		{ "\n{{ 1 | frobnicate }}", "line 2: there is no filter 'frobnicate'" },
		{ "{{ 1 is odious }}", "there is no test 'odious'" },
		{ "\n\n{{ nothing.x }}", "line 3: 'nothing' is not there, so it has no 'x'" },
		{ "{{ [][3].x }}", "'item 3' is not there, so it has no 'x'" },
		{ "{{ nothing() }}", "there is no 'nothing' to be called" },
		{ "{{ nothing + 1 }}", "'nothing' is not there, so there is no + with it" },
		{ "{{ 'a' + 1 }}", "there is no + for a str and a int" },
		{ "{{ 1 < 'a' }}", "a int and a str have no order" },
		{ "{% for x in 5 %}{% endfor %}", "a int has no items to go through" },
		{ "{% for a, b in [[1]] %}{% endfor %}", "1 values for 2 names" },
		{ "{% set a = [] %}{{ a.append(1) }}", "a template must not change a list" },
		{ "{% set a = {} %}{% set a.b = 1 %}", "only a namespace's attributes can be set" },
		{ "{{ 'a'.replace('b') }}", "replace() needs its 'new'" },
		{ "{{ 'a'.strip('b', 'c') }}", "strip() takes fewer than 2 arguments" },
		{ "{{ 'a' | trim(x=1) }}", "trim() takes no 'x'" },
		{ "{{ 9223372036854775807 + 1 }}", "a number is larger than 64 bits can say" },
		{ "{{ 1 // 0 }}", "something is divided by zero" },
		{ "{{ range(1000000) }}", "range() gives more than 100000 numbers" },
		{ "{{ '%9999d' % 1 }}", "a format is wider than 1000 characters" },
		{ "{{ nothing | tojson }}", "a Undefined is nothing that JSON has" },
		{ "\n{{ raise_exception('roles must\x1b alternate') }}", "line 2: roles must" },
	};
	struct sherd_error err;
	json_t *vars = json_object();
	int bad = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		char *out = render(faults[i].text, vars, &err);

		if (out || !strstr(err.msg, faults[i].says) ||
		    strncmp(err.msg, "the chat template's line ", 25)) {
			print_error("%s\nwanted: %s\n   got: %s\n", faults[i].text, faults[i].says,
				    out ? out : err.msg);
			bad++;
		}
		free(out);
	}
	json_decref(vars);
	assert_int_equal(bad, 0);
}

/* @n times @what between @before and @after */
static char *repeated(const char *before, const char *what, size_t n, const char *after)
{
	size_t len = strlen(what), at = strlen(before);
	char *s = malloc(at + n * len + strlen(after) + 1);

	assert_non_null(s);
	strcpy(s, before);
	for (size_t i = 0; i < n; i++, at += len)
		memcpy(s + at, what, len);
	strcpy(s + at, after);
	return s;
}

static void a_template_that_wants_too_much_is_ended(void **state)
{
	struct {
		char *text;
		const char *says;
	} greedy[] = {
		{ repeated("{{ ", "(", 5000, "1"), "nested too deeply" },
		{ repeated("{{ ", "not ", 5000, "1 }}"), "nested too deeply" },
		{ repeated("{{ ", "-", 5000, "1 }}"), "nested too deeply" },
		{ repeated("{{ ", "a if b else ", 5000, "1 }}"), "nested too deeply" },
		{ repeated("", "{% if a %}", 5000, ""), "nested too deeply" },
		{ repeated("{{ 1", " + 1", 20000, " }}"), "nested too deeply" },
		{ repeated("{{ 'a'", "|trim", 20000, " }}"), "nested too deeply" },
		{ repeated("{{ a", "[0]", 20000, " }}"), "nested too deeply" },
		{ strdup("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "nested too deeply" },
		{ strdup("{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}"),
		  "nested too deeply" },
		{ strdup("{% set s = 'ab' * 500000 %}{% for i in range(9999) %}{{ 'c' in s }}{% endfor %}"),
		  "it has worked for too long" },
		{ strdup("{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}"
			 "{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}"
			 "{{ n.a == n.b }}"),
		  "it has worked for too long" },
		{ strdup("{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}"
			 "{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}"
			 "{{ n.a < n.b }}"),
		  "it has worked for too long" },
		{ strdup("{% set l = range(99999) %}{% for i in range(99999) %}{{ l.count(-1) }}{% endfor %}"),
		  "it has worked for too long" },
		{ strdup("{% set s = 'a' * 500000 %}{% set e = 'a' * 250000 ~ 'b' %}{{ s.rfind(e) }}"),
		  "it has worked for too long" },
		{ strdup("{% set s = 'a' * 500000 %}{% for i in range(99999) %}{{ s | wordcount }}{% endfor %}"),
		  "it has worked for too long" },
		{ strdup("{% set s = 'a' * 500000 %}{% for i in range(99999) %}{% set x = s | center(0) %}"
			 "{% endfor %}"),
		  "it has worked for too long" },
		{ strdup("{{ 'abcdefgh' * 99999999 }}"), "are wanted" },
		{ strdup("{{ [1, 2] * 99999999 }}"), "are wanted" },
		{ strdup("{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}"
			 "{% endfor %}"),
		  "are wanted" },
		{ strdup("{% for i in range(99999) %}{{ 'abcdefgh' * 1000 }}{% endfor %}"),
		  "are wanted" },
		{ strdup("{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = [n.l, n.l] %}"
			 "{% endfor %}{{ n.l == [n.l, 1] }}{{ n.l | tojson }}"),
		  "" },
	};
	struct sherd_error err;
	json_t *vars = json_object();
	int bad = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(greedy); i++) {
		char *out = render(greedy[i].text, vars, &err);

		if (out || !err.msg[0] || !strstr(err.msg, greedy[i].says)) {
			print_error("%.60s\nwanted: %s\n   got: %.200s\n", greedy[i].text,
				    greedy[i].says, out ? out : err.msg);
			bad++;
		}
		free(out);
		free(greedy[i].text);
	}
	json_decref(vars);
	assert_int_equal(bad, 0);
}

static void a_long_template_and_a_long_talk_are_no_trouble(void **state)
{
	char *text = repeated("", "{% if true %}x{% endif %}\n{# y #}", 20000, ""), *out;
	json_t *vars = json_object(), *messages = json_array();
	struct sherd_error err;

	(void)state;
	out = render(text, vars, &err);
	assert_non_null(out);
	assert_int_equal(strlen(out), 20000);
	free(out);
	free(text);
	for (int i = 0; i < 5000; i++)
		json_array_append_new(messages,
				      json_pack("{s:s, s:s}", "role", i % 2 ? "assistant" : "user",
						"content", "Something\nof some words, again."));
	json_object_set_new(vars, "messages", messages);
	out = render(sherd_chat_builtin_text("chatml"), vars, &err);
	assert_non_null(out);
	free(out);
	json_decref(vars);
}

/* ------------------------------------------------------------------- chats */

static struct sherd_tokenizer *tokenizer(const char *template)
{
	struct tiny_vocab v = { 0 };
	struct sherd_tokenizer *tok;

	tiny_spm(&v);
	v.chat_template = template;
	assert_int_equal(tiny_open(&v, &tok, NULL), 0);
	return tok;
}

static const struct sherd_message the_tea[] = { { "user", "the" }, { "assistant", "tea" } };

static void a_text_begins_with_bos_once(void **state)
{
	static const char *const templates[] = { "{{ bos_token }}{{ messages[0].content }}",
						 "{{ messages[0].content }}" };
	struct sherd_error err;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct sherd_tokenizer *tok = tokenizer(templates[i]);
		struct sherd_chat *chat;
		int32_t *ids;
		int n;

		assert_string_equal(sherd_tokenizer_chat_template(tok), templates[i]);
		assert_int_equal(sherd_chat_open(&chat, tok, NULL, &err), 0);
		assert_int_equal(sherd_chat_tokens(chat, the_tea, 1, true, &ids, &n, &err), 0);
		assert_true(n >= 2);
		assert_int_equal(ids[0], 1);
		assert_int_not_equal(ids[1], 1);
		free(ids);
		sherd_chat_close(chat);
		sherd_tokenizer_free(tok);
	}
}

static void a_chat_gives_its_template_what_it_may_ask_for(void **state)
{
	struct sherd_tokenizer *tok = tokenizer(
		"{{ bos_token }}|{{ eos_token }}|{{ tools is none }}|{{ documents is none }}|"
		"{{ add_generation_prompt }}|{{ messages | length }}|{{ messages[-1].role }}|{{ x }}");
	struct sherd_error err;
	struct sherd_chat *chat;
	char *text;
	size_t len;

	(void)state;
	assert_int_equal(sherd_chat_open(&chat, tok, NULL, &err), 0);
	assert_int_equal(sherd_chat_set(chat, "x", "{\"a\": [1, false]}", &err), 0);
	assert_int_equal(sherd_chat_set(chat, "x", "{", &err), -EINVAL);
	assert_int_equal(sherd_chat_text(chat, the_tea, 2, false, &text, &len, &err), 0);
	assert_string_equal(text, "<s>|</s>|True|True|False|2|assistant|{'a': [1, False]}");
	assert_int_equal(len, strlen(text));
	free(text);
	sherd_chat_close(chat);
	sherd_tokenizer_free(tok);
}

static void what_cannot_be_a_chat_is_refused(void **state)
{
	static const struct sherd_message broken = { "user", "\xff" };
	struct sherd_tokenizer *tok = tokenizer(NULL);
	struct sherd_error err;
	struct sherd_chat *chat;
	char *text;
	size_t len;

	(void)state;
	assert_null(sherd_tokenizer_chat_template(tok));
	assert_int_equal(sherd_chat_open(&chat, tok, NULL, &err), -ENOENT);
	assert_null(chat);
	assert_non_null(strstr(err.msg, "no chat template"));
	assert_int_equal(sherd_chat_open(&chat, tok, "{% if", &err), -EINVAL);
	assert_int_equal(sherd_chat_open(&chat, tok, "{% extends 'x' %}", &err), -EOPNOTSUPP);
	assert_int_equal(sherd_chat_open(&chat, tok, sherd_chat_builtin_text("chatml"), &err), 0);
	assert_int_equal(sherd_chat_text(chat, &broken, 1, true, &text, &len, &err), -EILSEQ);
	assert_non_null(strstr(err.msg, "no valid UTF-8"));
	sherd_chat_close(chat);
	sherd_tokenizer_free(tok);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates_of_every_family_give_what_transformers_gives),
		cmocka_unit_test(templates_that_come_along_give_what_transformers_gives),
		cmocka_unit_test(expressions_give_what_jinja2_gives),
		cmocka_unit_test(what_is_wrong_is_said_with_its_line),
		cmocka_unit_test(a_template_that_wants_too_much_is_ended),
		cmocka_unit_test(a_long_template_and_a_long_talk_are_no_trouble),
		cmocka_unit_test(a_text_begins_with_bos_once),
		cmocka_unit_test(a_chat_gives_its_template_what_it_may_ask_for),
		cmocka_unit_test(what_cannot_be_a_chat_is_refused),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
