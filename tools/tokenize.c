/* SPDX-License-Identifier: MIT */
/*
 * tokenize: text to token ids and back, from any GGUF with a vocabulary. The text is taken byte by
 * byte as it comes: nothing is trimmed, no escapes are read, a last newline counts.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "base/base.h"
#include "tool.h"

struct args {
	const char *model, *file, *text;
	bool no_special, parse, no_parse, decode, json, show;
};

static const char about[] =
	"Prints the ids of a text's tokens on one line, or turns ids back into text. The text is "
	"-p's, "
	"-f's or stdin, exactly as it is.\n"
	"\n"
	"  sherd tokenize -m vocab.gguf -p \"Hello world\"\n"
	"  sherd tokenize -m vocab.gguf -f text.txt | sherd tokenize -m vocab.gguf --decode | cmp "
	"- text.txt\n"
	"\n"
	"What looks like a control token in the text (\"<s>\", \"<|im_end|>\") is taken for the "
	"letters "
	"that it is, so that any file survives the way there and back and none can forge the end "
	"of a "
	"message; --parse-special makes it the control token, as `sherd run` does with prompts.";

/* Control characters and bytes that are no UTF-8 as \xNN. */
static void print_escaped(const char *text, size_t len)
{
	utf8proc_int32_t c;

	for (size_t at = 0; at < len;) {
		const char *from = text + at;
		utf8proc_ssize_t n =
			utf8proc_iterate((const uint8_t *)from, (utf8proc_ssize_t)(len - at), &c);

		if (n == 1 && (c == '\\' || c == '\n' || c == '\t'))
			printf("\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : '\\');
		else if (n <= 0 || utf8proc_category(c) == UTF8PROC_CATEGORY_CC)
			for (ssize_t i = 0; i < MAX(n, 1); i++)
				printf("\\x%02x", (unsigned char)from[i]);
		else
			fwrite(from, 1, (size_t)n, stdout);
		at += (size_t)MAX(n, 1);
	}
}

/* A string, or a list of bytes for what is no UTF-8: half a character, say. */
static json_t *json_text(const char *text, size_t len)
{
	json_t *s = json_stringn(text, len), *bytes;

	if (s)
		return s;
	bytes = json_array();
	for (size_t i = 0; i < len; i++)
		json_array_append_new(bytes, json_integer((unsigned char)text[i]));
	return bytes;
}

/* malloc'd; NULL: no memory */
static char *token_text(const struct sherd_tokenizer *tok, int32_t id, size_t *len)
{
	int n = sherd_token_text(tok, id, true, NULL, 0);
	char *buf = malloc((size_t)n + 1);

	*len = (size_t)n;
	if (buf)
		sherd_token_text(tok, id, true, buf, (size_t)n);
	return buf;
}

static int print_json(json_t *root)
{
	int ret = !root || json_dumpf(root, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);

	if (!ret)
		putchar('\n');
	json_decref(root);
	return ret ? tool_failf(&tool_tokenize, "out of memory, or the output went nowhere")
		   : TOOL_OK;
}

static int ids_as_json(const struct sherd_tokenizer *tok, const struct args *a, const int32_t *ids,
		       int n)
{
	json_t *root = json_object(), *list = json_array(), *pieces = json_array();

	for (int i = 0; i < n; i++) {
		size_t len = 0;
		char *text = a->show ? token_text(tok, ids[i], &len) : NULL;

		json_array_append_new(list, json_integer(ids[i]));
		if (text)
			json_array_append_new(pieces, json_text(text, len));
		free(text);
	}
	json_object_set_new(root, "count", json_integer(n));
	json_object_set_new(root, "ids", list);
	if (a->show)
		json_object_set_new(root, "pieces", pieces);
	else
		json_decref(pieces);
	return print_json(root);
}

static void print_ids(const struct sherd_tokenizer *tok, bool show, const int32_t *ids, int n)
{
	for (int i = 0; i < n; i++) {
		size_t len;
		char *text = show ? token_text(tok, ids[i], &len) : NULL;

		printf("%s%d", i && !show ? " " : "", ids[i]);
		if (text) {
			fputs("\t'", stdout);
			print_escaped(text, len);
			fputs("'\n", stdout);
		}
		free(text);
	}
	if (!show)
		putchar('\n');
}

static int encode(const struct sherd_tokenizer *tok, const struct args *a, const char *text,
		  size_t len)
{
	unsigned flags = (a->no_special ? 0 : SHERD_TOK_SPECIAL) | (a->parse ? SHERD_TOK_PARSE : 0);
	struct sherd_error err;
	int32_t *ids;
	int n, rc = TOOL_OK;

	if (sherd_tokenize(tok, text, len, flags, &ids, &n, &err))
		return tool_fail(&tool_tokenize, &err);
	if (a->json)
		rc = ids_as_json(tok, a, ids, n);
	else
		print_ids(tok, a->show, ids, n);
	free(ids);
	return rc;
}

/* Numbers with anything of " \t\r\n,[]" between them. */
static int parse_ids(char *text, size_t len, int32_t **ids, int *n)
{
	char *at = text;
	size_t cap = 0;

	*ids = NULL;
	*n = 0;
	for (;;) {
		char *end;
		long id;

		at += strspn(at, " \t\r\n,[]");
		if (at == text + len)
			return TOOL_OK;
		errno = 0;
		id = strtol(at, &end, 10);
		if (end == at || errno || id < 0 || id > INT32_MAX)
			return tool_failf(&tool_tokenize, "'%.*s' (byte %zu) is not a token id",
					  (int)strnlen(at, 20), at, (size_t)(at - text) + 1);
		if ((size_t)*n == cap) {
			int32_t *more = realloc(*ids, (cap = cap * 2 + 256) * sizeof(*more));

			if (!more || *n == INT_MAX)
				return tool_failf(&tool_tokenize, "no memory for %d ids", *n);
			*ids = more;
		}
		(*ids)[(*n)++] = (int32_t)id;
		at = end;
	}
}

static int decode(const struct sherd_tokenizer *tok, const struct args *a, char *text, size_t len)
{
	struct sherd_error err;
	int32_t *ids;
	char *out = NULL;
	size_t out_len;
	int n, rc = parse_ids(text, len, &ids, &n);

	if (!rc && sherd_detokenize(tok, ids, n, a->parse, &out, &out_len, &err))
		rc = tool_fail(&tool_tokenize, &err);
	if (!rc && a->json)
		rc = print_json(
			json_pack("{s:i, s:o}", "count", n, "text", json_text(out, out_len)));
	else if (!rc)
		fwrite(out, 1, out_len, stdout);
	free(out);
	free(ids);
	return rc;
}

static int work(const struct args *a)
{
	struct sherd_tokenizer *tok;
	struct sherd_error err;
	char *text = NULL;
	size_t len;
	int rc;

	if (sherd_tokenizer_open(&tok, a->model, &err))
		return tool_fail(&tool_tokenize, &err);
	if (a->text) {
		text = strdup(a->text);
		len = strlen(a->text);
		rc = text ? TOOL_OK : tool_failf(&tool_tokenize, "out of memory");
		if (!rc && tool_check_text("the text", text, len, &err))
			rc = tool_fail(&tool_tokenize, &err);
	} else {
		rc = tool_read_text(a->file ? a->file : "-", &text, &len, &err)
			     ? tool_fail(&tool_tokenize, &err)
			     : TOOL_OK;
	}
	if (!rc)
		rc = a->decode ? decode(tok, a, text, len) : encode(tok, a, text, len);
	free(text);
	sherd_tokenizer_free(tok);
	if (!tool_flush(&tool_tokenize) && !rc)
		rc = TOOL_FAILED;
	return rc;
}

static int tokenize_main(int argc, char **argv)
{
	struct args a = { 0 };
	const struct opt opts[] = {
		{ 'm', "model", OPT_STR, &a.model, 0, 0, "MODEL",
		  "GGUF file (a vocabulary alone will do), packed shard, Ollama model name, or "
		  "Hugging Face folder or name" },
		{ 'f', "file", OPT_STR, &a.file, 0, 0, "FILE", "read this (default: -, stdin)" },
		{ 'p', "prompt", OPT_STR, &a.text, 0, 0, "TEXT", "take this text" },
		{ 0, "no-special", OPT_FLAG, &a.no_special, 0, 0, NULL,
		  "add no BOS and EOS (default: as the model's file says)" },
		{ 0, "parse-special", OPT_FLAG, &a.parse, 0, 0, NULL,
		  "names of control tokens in the text are these tokens; with --decode, control "
		  "tokens are written by name (default: they give nothing)" },
		{ 0, "no-parse-special", OPT_FLAG, &a.no_parse, 0, 0, NULL,
		  "names of control tokens are plain text (the default)" },
		{ 'd', "decode", OPT_FLAG, &a.decode, 0, 0, NULL,
		  "read ids, between them spaces, commas, brackets; write their text, nothing "
		  "added" },
		{ 0, "show", OPT_FLAG, &a.show, 0, 0, NULL, "a line a token: its id and its text" },
		{ 0, "json", OPT_FLAG, &a.json, 0, 0, NULL,
		  "{\"count\", \"ids\", with --show \"pieces\"}; with --decode {\"count\", "
		  "\"text\"}; "
		  "bytes that are no UTF-8 come as a list of numbers" },
		{ 0 },
	};
	int ret = opt_parse(&tool_tokenize, opts, &argc, argv);

	if (ret)
		return ret < 0 ? TOOL_USAGE : TOOL_OK;
	if (!a.model)
		return tool_usage(&tool_tokenize, "which model? -m MODEL");
	if (argc)
		return tool_usage(&tool_tokenize, "'%s' is one argument too many; text goes to -p",
				  argv[0]);
	if (a.file && a.text)
		return tool_usage(&tool_tokenize, "-f and -p are two texts; give one");
	if (a.parse && a.no_parse)
		return tool_usage(&tool_tokenize, "--parse-special and --no-parse-special exclude "
						  "each other");
	return work(&a);
}

const struct tool tool_tokenize = {
	.name = "tokenize",
	.synopsis = "-m MODEL [-f FILE | -p TEXT] [options]",
	.summary = "text to token ids and back",
	.about = about,
	.main = tokenize_main,
};
