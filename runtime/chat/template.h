/* SPDX-License-Identifier: MIT */
/*
 * template: a chat template - the small program in Jinja that a model's file brings along, and that
 * makes the text for the model out of a list of messages. It is rendered as Hugging Face's
 * transformers does: trim_blocks, lstrip_blocks, break and continue, generation blocks, tojson,
 * raise_exception, strftime_now; nothing that changes a list or a dict, or reads a file.
 */
#ifndef SHERD_TEMPLATE_H
#define SHERD_TEMPLATE_H

#include <jansson.h>
#include <time.h>
#include "base/base.h"

struct sherd_template;

/* @text is copied. Failures have the line; -EINVAL: no template, -EOPNOTSUPP: what is unknown. */
int sherd_template_parse(struct sherd_template **tmpl, const char *text, size_t len,
			 struct sherd_error *err);
void sherd_template_free(struct sherd_template *tmpl);
/*
 * @vars: an object, its members are the template's variables. *out is malloc'd and NUL-terminated.
 * @now: what strftime_now() says, 0: the time it is. -EINVAL: the template says no, or
 * cannot work; -E2BIG: it wants more memory, steps or depth than a template may have.
 */
int sherd_template_render(const struct sherd_template *tmpl, const json_t *vars, time_t now,
			  char **out, size_t *len, struct sherd_error *err);

#endif
