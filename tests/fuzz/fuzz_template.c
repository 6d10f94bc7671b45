/* SPDX-License-Identifier: MIT */
/*
 * fuzz_template: any bytes as a chat template, given a small talk with tools. What it makes is
 * valid UTF-8, and the same again the second time; what it cannot make leaves a sentence.
 */
#include <stdlib.h>
#include <utf8proc.h>
#include "chat/template.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char talk[] =
	"{\"messages\":[{\"role\":\"system\",\"content\":\"Be \xc3\xa9 <kind>.\\n\"},"
	"{\"role\":\"user\",\"content\":\" a,b \xf0\x9f\x98\x80\"},"
	"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"function\":"
	"{\"name\":\"f\",\"arguments\":{\"x\":[1,2.5,true,null]}}}]}],\"tools\":[{\"type\":\"function\","
	"\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}],\"documents\":null,"
	"\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_generation_prompt\":true}";

static void check_utf8(const char *text, size_t len)
{
	utf8proc_int32_t c;

	for (size_t at = 0; at < len;) {
		utf8proc_ssize_t n = utf8proc_iterate((const uint8_t *)text + at,
						      (utf8proc_ssize_t)(len - at), &c);

		CHECK(n > 0);
		at += (size_t)n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static json_t *vars;
	struct sherd_error err = { "" };
	struct sherd_template *t;
	char *text, *again;
	size_t len, len2;

	if (!vars)
		vars = json_loads(talk, 0, NULL);
	CHECK(vars);
	if (sherd_template_parse(&t, (const char *)data, size, &err)) {
		CHECK(err.msg[0] && !t);
		return 0;
	}
	if (sherd_template_render(t, vars, 1700000000, &text, &len, &err)) {
		CHECK(err.msg[0] && !text);
	} else {
		check_utf8(text, len);
		CHECK(!sherd_template_render(t, vars, 1700000000, &again, &len2, &err));
		CHECK(len == len2 && !memcmp(text, again, len));
		free(text);
		free(again);
	}
	sherd_template_free(t);
	return 0;
}
