/* SPDX-License-Identifier: MIT */
/*
 * embed: texts to vectors, by an encoder; and how near the texts are to each other. Each text is read
 * at once, by one step: what is too long is refused, with its number, rather than cut.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "tool.h"

struct text {
	char *data;
	int n_tokens;
	float *rows; /* [n_rows][hidden] */
	int n_rows;
};

struct embed {
	const char *model_name, *file, *pooling_name;
	struct sherd_model_params params;
	struct opt_strs given;
	bool no_normalize, json, similarity;
	enum sherd_pooling pooling;
	struct sherd_model *model;
	struct sherd_session *session;
	const struct sherd_model_info *info;
	struct text *texts;
	int n;
};

static const char about[] =
	"Prints a vector for each text, by an encoder such as BERT, MiniLM or BGE: a line a text, numbers "
	"with spaces between them. Texts are -p's, one each, or the lines of -f's file or of stdin; empty "
	"lines are left out.\n"
	"\n"
	"  sherd embed -m bge-small.gguf -p \"a cat sleeps\" -p \"a dog barks\" --similarity\n"
	"  sherd embed -m minilm.gguf -f titles.txt --json >titles.json\n"
	"\n"
	"The rows of a text are pooled as the model's file says (mean, cls, ...), or as --pooling does, and the "
	"vector is scaled to a length of 1, so that the product of two is the cosine of their angle. A text "
	"must fit into the model's context as a whole.";

static int add_text(struct embed *e, const char *text, size_t len)
{
	struct text *more = realloc(e->texts, ((size_t)e->n + 1) * sizeof(*more));

	if (!more)
		return tool_failf(&tool_embed, "no memory for %d texts", e->n + 1);
	e->texts = more;
	more[e->n] = (struct text){ .data = strndup(text, len) };
	if (!more[e->n++].data)
		return tool_failf(&tool_embed, "no memory for a text of %zu bytes", len);
	return TOOL_OK;
}

static int add_lines(struct embed *e, const char *text)
{
	int rc = TOOL_OK;

	while (*text && !rc) {
		size_t len = strcspn(text, "\n"), used = len;

		if (used && text[used - 1] == '\r')
			used--;
		if (used)
			rc = add_text(e, text, used);
		text += len + (text[len] == '\n');
	}
	return rc;
}

static int read_texts(struct embed *e)
{
	struct sherd_error err;
	char *text;
	size_t len;
	int rc = TOOL_OK;

	for (int i = 0; i < e->given.n && !rc; i++) {
		len = strlen(e->given.v[i]);
		if (tool_check_text("the text", e->given.v[i], len, &err))
			return tool_fail(&tool_embed, &err);
		rc = add_text(e, e->given.v[i], len);
	}
	if (!e->given.n) {
		if (tool_read_text(e->file ? e->file : "-", &text, &len, &err))
			return tool_fail(&tool_embed, &err);
		rc = add_lines(e, text);
		free(text);
	}
	if (!rc && !e->n)
		return tool_failf(&tool_embed, "there is no text: -p TEXT, or lines in -f FILE");
	return rc;
}

static int open_model(struct embed *e)
{
	struct sherd_error err;

	e->params.progress = tool_progress;
	e->params.note = tool_note;
	if (sherd_model_open(&e->model, e->model_name, &e->params, &err))
		return tool_fail(&tool_embed, &err);
	tool_progress_end();
	e->info = sherd_model_info(e->model);
	if (!e->info->encoder)
		return tool_failf(
			&tool_embed,
			"%s: is a %s model, which writes text: vectors come from encoders "
			"(bert)",
			e->info->path, e->info->arch);
	if (tool_want_tokenizer(&tool_embed, e->model))
		return TOOL_FAILED;
	if (e->pooling == SHERD_POOL_MODEL)
		e->pooling = e->info->pooling;
	if (sherd_session_new(&e->session, e->model, NULL, &err))
		return tool_fail(&tool_embed, &err);
	return TOOL_OK;
}

static int embed_text(struct embed *e, int i)
{
	struct text *t = &e->texts[i];
	struct sherd_error err;
	int32_t *ids;
	int rc;

	if (sherd_tokenize(sherd_model_tokenizer(e->model), t->data, strlen(t->data),
			   SHERD_TOK_SPECIAL, &ids, &t->n_tokens, &err))
		return tool_fail(&tool_embed, &err);
	t->n_rows = e->pooling == SHERD_POOL_NONE ? t->n_tokens : 1;
	t->rows = calloc((size_t)MAX(t->n_rows, 1) * (size_t)e->info->hidden, sizeof(float));
	if (!t->rows)
		rc = tool_failf(&tool_embed, "no memory for the vectors of text %d", i + 1);
	else if (!t->n_tokens)
		rc = tool_failf(&tool_embed, "text %d has no token", i + 1);
	else if (sherd_embed(e->session, ids, t->n_tokens, e->pooling, !e->no_normalize, t->rows,
			     &err))
		rc = tool_failf(&tool_embed, "text %d: %s", i + 1, err.msg);
	else
		rc = TOOL_OK;
	free(ids);
	return rc;
}

/* The cosine of two texts' vectors' angle. */
static double cosine(const struct embed *e, int a, int b)
{
	const float *x = e->texts[a].rows, *y = e->texts[b].rows;
	double xy = 0, xx = 0, yy = 0;

	for (int c = 0; c < e->info->hidden; c++) {
		xy += (double)x[c] * (double)y[c];
		xx += (double)x[c] * (double)x[c];
		yy += (double)y[c] * (double)y[c];
	}
	return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* --- the output --- */

static void print_plain(const struct embed *e)
{
	for (int i = 0; i < e->n && !e->similarity; i++)
		for (int k = 0; k < e->texts[i].n_rows; k++)
			for (int c = 0; c < e->info->hidden; c++)
				printf("%.9g%c",
				       (double)e->texts[i]
					       .rows[(size_t)k * (size_t)e->info->hidden +
						     (size_t)c],
				       c + 1 < e->info->hidden ? ' ' : '\n');
	for (int i = 0; i < e->n && e->similarity; i++)
		for (int k = 0; k < e->n; k++)
			printf("%.4f%c", cosine(e, i, k), k + 1 < e->n ? ' ' : '\n');
}

static json_t *json_row(const struct embed *e, const struct text *t, int row)
{
	json_t *list = json_array();

	for (int c = 0; c < e->info->hidden; c++)
		json_array_append_new(
			list, json_real((double)t->rows[(size_t)row * (size_t)e->info->hidden +
							(size_t)c]));
	return list;
}

static json_t *json_of(const struct embed *e, const struct text *t)
{
	json_t *o = json_pack("{s:s, s:i}", "text", t->data, "tokens", t->n_tokens), *rows;

	if (e->pooling != SHERD_POOL_NONE) {
		json_object_set_new(o, "embedding", json_row(e, t, 0));
		return o;
	}
	rows = json_array();
	for (int k = 0; k < t->n_rows; k++)
		json_array_append_new(rows, json_row(e, t, k));
	json_object_set_new(o, "rows", rows);
	return o;
}

static const char *const poolings[] = { "model", "none", "mean", "cls", "last" };

static int print_json(const struct embed *e)
{
	json_t *root = json_pack("{s:o, s:i, s:s, s:b}", "model", tool_json_path(e->info->path),
				 "hidden", e->info->hidden, "pooling", poolings[e->pooling],
				 "normalized", !e->no_normalize);
	json_t *texts = json_array(), *matrix = json_array(), *row;
	int rc;

	for (int i = 0; i < e->n; i++) {
		json_array_append_new(texts, json_of(e, &e->texts[i]));
		row = json_array();
		for (int k = 0; k < e->n && e->similarity; k++)
			json_array_append_new(row, json_real(cosine(e, i, k)));
		json_array_append_new(matrix, row);
	}
	json_object_set_new(root, "texts", texts);
	if (e->similarity)
		json_object_set(root, "similarity", matrix);
	json_decref(matrix);
	rc = json_dumpf(root, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
	json_decref(root);
	putchar('\n');
	return rc ? tool_failf(&tool_embed, "out of memory, or the output went nowhere") : TOOL_OK;
}

static int work(struct embed *e)
{
	int rc = read_texts(e);

	if (!rc)
		rc = open_model(e);
	for (int i = 0; i < e->n && !rc; i++) {
		rc = embed_text(e, i);
		tool_progress(NULL, "embedding", (uint64_t)i + 1, (uint64_t)e->n);
	}
	tool_progress_end();
	if (!rc && e->json)
		rc = print_json(e);
	else if (!rc)
		print_plain(e);
	if (!tool_flush(&tool_embed) && !rc)
		rc = TOOL_FAILED;
	return rc;
}

static void clear(struct embed *e)
{
	for (int i = 0; i < e->n; i++) {
		free(e->texts[i].data);
		free(e->texts[i].rows);
	}
	free(e->texts);
	sherd_session_free(e->session);
	sherd_model_close(e->model);
	opt_strs_free(&e->given);
}

static int embed_main(int argc, char **argv)
{
	struct embed e = { .params = SHERD_MODEL_PARAMS_INIT };
	const struct opt opts[] = {
		TOOL_MODEL_OPTS(e.model_name, e.params),
		{ 'p', "prompt", OPT_STRS, &e.given, 0, 0, "TEXT",
		  "a text; may be given several times" },
		{ 'f', "file", OPT_STR, &e.file, 0, 0, "FILE",
		  "texts are the lines of FILE (default: -, stdin)" },
		{ 0, "pooling", OPT_STR, &e.pooling_name, 0, 0, "HOW",
		  "how a text's rows become one vector: model (as its file says; the default), mean, cls "
		  "(the first row), last, or none: all rows, a line each" },
		{ 0, "no-normalize", OPT_FLAG, &e.no_normalize, 0, 0, NULL,
		  "leave the vectors' lengths as they are (default: 1)" },
		{ 0, "similarity", OPT_FLAG, &e.similarity, 0, 0, NULL,
		  "print the cosine between each two texts, a line a text, instead of the vectors; with "
		  "--json beside them" },
		{ 0, "json", OPT_FLAG, &e.json, 0, 0, NULL,
		  "{\"model\", \"hidden\", \"pooling\", \"normalized\", \"texts\": [{\"text\", \"tokens\", "
		  "\"embedding\"}], with --similarity \"similarity\"}; \"rows\" with --pooling none" },
		{ 0 },
	};
	int how = SHERD_POOL_MODEL, rc = opt_parse(&tool_embed, opts, &argc, argv);

	if (rc) {
		rc = rc < 0 ? TOOL_USAGE : TOOL_OK;
		goto out;
	}
	if (!e.model_name)
		rc = tool_usage(&tool_embed, "which model? -m MODEL");
	else if (argc)
		rc = tool_usage(&tool_embed, "'%s' is one argument too many; a text goes to -p",
				argv[0]);
	else if (e.given.n && e.file)
		rc = tool_usage(&tool_embed, "-p and -f are both texts; give one of them");
	else if (e.pooling_name)
		rc = tool_pick(&tool_embed, "--pooling", e.pooling_name, poolings,
			       ARRAY_SIZE(poolings), &how);
	e.pooling = (enum sherd_pooling)how;
	if (!rc && e.similarity && e.pooling == SHERD_POOL_NONE)
		rc = tool_usage(&tool_embed, "--similarity needs one vector a text, which "
					     "--pooling none does not give");
	if (!rc)
		rc = work(&e);
out:
	clear(&e);
	return rc;
}

const struct tool tool_embed = {
	.name = "embed",
	.synopsis = "-m MODEL [-p TEXT ... | -f FILE] [options]",
	.summary = "texts to vectors, by an encoder, and how alike they are",
	.about = about,
	.main = embed_main,
};
