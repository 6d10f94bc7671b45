/* SPDX-License-Identifier: MIT */
/*
 * hello: continues a text with libsherd, greedily, 50 tokens.
 *
 *	cc hello.c $(pkg-config --cflags --libs sherd) && ./a.out model.gguf "Once upon a time"
 */
#include <sherd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int go_on(struct sherd_session *session, const struct sherd_tokenizer *tok, const char *text,
		 struct sherd_error *err)
{
	const float *logits; /* [n_vocab], the model's until its next step */
	int32_t *ids, id;
	char piece[256];
	int n, rc;

	rc = sherd_tokenize(tok, text, strlen(text), SHERD_TOK_SPECIAL, &ids, &n, err);
	if (rc)
		return rc;
	rc = sherd_prefill(session, ids, n, &logits, err);
	free(ids);
	for (int i = 0; i < 50 && !rc; i++) {
		id = sherd_session_sample(session, logits);
		if (sherd_tokenizer_is_end(tok, id))
			break;
		n = sherd_token_text(tok, id, false, piece, sizeof(piece));
		fwrite(piece, 1, n < (int)sizeof(piece) ? (size_t)n : sizeof(piece), stdout);
		rc = sherd_prefill(session, &id, 1, &logits, err);
	}
	putchar('\n');
	return rc;
}

int main(int argc, char **argv)
{
	struct sherd_model_params params = SHERD_MODEL_PARAMS_INIT;
	struct sherd_session *session = NULL;
	struct sherd_model *model = NULL;
	struct sherd_error err;
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: %s MODEL TEXT\n", argv[0]);
		return 2;
	}
	rc = sherd_model_open(&model, argv[1], &params, &err);
	if (!rc)
		rc = sherd_session_new(&session, model, NULL, &err); /* NULL: greedy */
	if (!rc && !sherd_model_tokenizer(model)) {
		rc = -1;
		snprintf(err.msg, sizeof(err.msg),
			 "%s: is a part of a model, without its tokenizer", argv[1]);
	}
	if (!rc)
		rc = go_on(session, sherd_model_tokenizer(model), argv[2], &err);
	if (rc)
		fprintf(stderr, "%s: %s\n", argv[0], err.msg);
	sherd_session_free(session); /* a session goes before its model */
	sherd_model_close(model);
	return rc != 0;
}
