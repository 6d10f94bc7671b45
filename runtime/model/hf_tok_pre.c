/* SPDX-License-Identifier: MIT */
/*
 * hf_tok_pre: which of the pre-tokenizers in tok_pre.c a tokenizer.json asks for. It says so in full,
 * by regular expressions and steps; written down in one line these are compared with what the known
 * families have. Another one is refused: words that are cut elsewhere are other tokens.
 */
#include "model/hf_tok.h"

#include <stdio.h>
#include <stdlib.h>

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define ENDS	    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SYMBOLS	    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define UPPER	    "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER	    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define WORD	    "[^\\r\\n\\p{L}\\p{N}]?"

/* clang-format off: a line a family */
static const struct {
	const char *steps, *pre;
} known[] = {
	{ "bytes+gpt2", "gpt-2" },
	{ "digits1 bytes+gpt2", "starcoder" },
	{ "punctuation bytes+gpt2 digits split:[0-9][0-9][0-9]", "falcon" },
	{ "split:" CONTRACTION "|" WORD "\\p{L}+|\\p{N}{1,3}" SYMBOLS ENDS " bytes", "llama-bpe" },
	{ "split:" CONTRACTION "|" WORD "\\p{L}+|\\p{N}" SYMBOLS ENDS " bytes", "qwen2" },
	{ "split:" WORD UPPER "*" LOWER "+|" WORD UPPER "+" LOWER
	  "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" ENDS " bytes",
	  "tekken" },
	{ "split:" WORD UPPER "*" LOWER "+" CONTRACTION "?|" WORD UPPER "+" LOWER "*" CONTRACTION
	  "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" ENDS " bytes",
	  "gpt-4o" },
	/* SentencePiece's BPE, by its merges: spaces are U+2581, all of the text is one word */
	{ "", "spm-merges" },
	{ "split: >", "spm-merges" }, /* Gemma's: there are no spaces left to split at */
	{ "words", "spm-merges-words" },
	{ "unsplit", "spm-merges" },
};
/* clang-format on */

/* False only where the key is there and says so. */
static bool unless_false(const json_t *j, const char *key)
{
	return !json_is_false(json_object_get(j, key));
}

static void put_split(FILE *f, const json_t *step)
{
	const json_t *pattern = json_object_get(step, "pattern");
	const char *regex = hf_text(pattern, "Regex"), *how = hf_text(step, "behavior");
	bool invert = json_is_true(json_object_get(step, "invert"));

	if (!strcmp(how, invert ? "Removed" : "Isolated"))
		how = "";
	else if (!strcmp(how, "MergedWithPrevious"))
		how = ">";
	fprintf(f, "split:%s%s", *regex ? regex : hf_text(pattern, "String"), how);
}

static void put_metaspace(struct hf_vocab *v, FILE *f, const json_t *step)
{
	const char *scheme = hf_text(step, "prepend_scheme");

	if (*scheme)
		v->space_prefix = strcmp(scheme, "never") != 0;
	else
		v->space_prefix = unless_false(step, "add_prefix_space");
	v->one_space_prefix = true;
	fputs(unless_false(step, "split") ? "words" : "unsplit", f);
}

static void put_step(struct hf_vocab *v, FILE *f, const json_t *step)
{
	const char *type = hf_text(step, "type");
	const json_t *one;
	size_t i;

	if (!strcmp(type, "Sequence")) {
		json_array_foreach(json_object_get(step, "pretokenizers"), i, one)
			if (strcmp(hf_text(one, "type"), "Sequence")) /* none within another */
				put_step(v, f, one);
		return;
	}
	if (ftell(f) > 0)
		fputc(' ', f);
	if (!strcmp(type, "Split")) {
		put_split(f, step);
	} else if (!strcmp(type, "ByteLevel")) {
		v->space_prefix = json_is_true(json_object_get(step, "add_prefix_space"));
		v->one_space_prefix = true;
		fputs(unless_false(step, "use_regex") ? "bytes+gpt2" : "bytes", f);
	} else if (!strcmp(type, "Digits")) {
		fputs(json_is_true(json_object_get(step, "individual_digits")) ? "digits1" :
										 "digits",
		      f);
	} else if (!strcmp(type, "Punctuation") &&
		   !strcmp(hf_text(step, "behavior"), "Contiguous")) {
		fputs("punctuation", f);
	} else if (!strcmp(type, "Metaspace")) {
		put_metaspace(v, f, step);
	} else {
		fprintf(f, "%s", type);
	}
}

int hf_tok_pre(struct hf_vocab *v, const json_t *root)
{
	const json_t *pre = json_object_get(root, "pre_tokenizer");
	char *steps = NULL;
	size_t size, i;
	FILE *f = open_memstream(&steps, &size);

	if (!f)
		return sherd_fail_oom(v->hf->err, 256, "a pre-tokenizer");
	if (json_is_object(pre))
		put_step(v, f, pre);
	if (fclose(f)) {
		free(steps);
		return sherd_fail_oom(v->hf->err, 256, "a pre-tokenizer");
	}
	for (i = 0; i < ARRAY_SIZE(known) && !v->pre; i++)
		if (!strcmp(steps, known[i].steps))
			v->pre = known[i].pre;
	if (!v->pre)
		sherd_fail(v->hf->err, -ENOTSUP,
			   "%s/tokenizer.json: cuts text into words in a way that sherd does not "
			   "know (%.160s): take a GGUF of the model",
			   v->hf->dir, steps);
	free(steps);
	return v->pre ? 0 : -ENOTSUP;
}
