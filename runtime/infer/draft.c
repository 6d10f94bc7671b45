/* SPDX-License-Identifier: MIT */
/*
 * draft: speculative decoding. Reading the weights is what a token costs, and a step reads them once for
 * all of its rows: so the next tokens are guessed, and one step of the model computes the logits after each
 * of them. What the session's sampler draws from these is the text. As long as a draw is what
 * was guessed, the next row is the one that would have been computed anyway, to the bit, whoever its
 * company is (Documentation/arithmetic.rst); the first that differs ends the step, and what the KV
 * cache has of the wrong guesses is forgotten.
 *
 * A draft model draws its guesses with the sampler of the session, at the same positions and with the
 * same seed: where the two models think alike they draw alike, at any temperature.
 */
#include <stdlib.h>
#include "base/trace.h"
#include "infer/draft.h"
#include "infer/infer.h"
#include "model/tokenizer.h"

#define DEFAULT_MAX 8
/* More tokens of the text than this are caught up with, and say nothing about a guess's time. */
#define CATCH_UP 4

struct sherd_draft {
	struct sherd_session *session, *own; /* own: the draft model's; NULL: n-grams */
	sherd_draw_fn draw;
	void *ctx;
	struct sherd_pace pace;
	int32_t row[1 + SHERD_DRAFT_MAX]; /* of a step: the last token, and guesses */
	/*
	 * Drawn, and not handed out: queue[first .. end). The session, at @pos, is ahead of its user
	 * by as many positions.
	 */
	int32_t queue[1 + SHERD_DRAFT_MAX];
	int first, end, pos;
	struct sherd_draft_stats stats;
	struct sherd_error stopped;
};

/* -------------------------------------------------------------------- vocabularies */

static int same_token(const struct sherd_model *a, const struct sherd_model *b, int32_t id,
		      struct sherd_error *err)
{
	char x[256], y[256];
	int n = sherd_token_text(a->tokenizer, id, true, x, sizeof(x));
	int m = sherd_token_text(b->tokenizer, id, true, y, sizeof(y));

	if (n == m && !memcmp(x, y, MIN((size_t)MAX(n, 0), sizeof(x))))
		return 0;
	return sherd_fail(err, -EINVAL,
			  "%s: its token %d is another one than that of %s; a model can only draft "
			  "for one with the same vocabulary",
			  b->path, id, a->path);
}

/* Padding of the embeddings may differ: no token is there. */
static int check_vocabulary(const struct sherd_model *a, const struct sherd_model *b,
			    struct sherd_error *err)
{
	int n, m, rc = 0;

	if (b->info.first_layer || b->info.end_layer != b->info.n_layers || !b->tokenizer)
		return sherd_fail(err, -EINVAL,
				  "%s: is no whole model with a tokenizer, and can't draft",
				  b->path);
	n = sherd_tokenizer_n_vocab(a->tokenizer);
	m = sherd_tokenizer_n_vocab(b->tokenizer);
	if (n != m)
		return sherd_fail(
			err, -EINVAL,
			"%s: its vocabulary has %d tokens, that of %s has %d; a model can "
			"only draft for one with the same vocabulary",
			b->path, m, a->path, n);
	for (int32_t id = 0; id < n && !rc; id++)
		rc = same_token(a, b, id, err);
	return rc;
}

/* ------------------------------------------------------------------- new and free */

static int check_params(const struct sherd_session *s, const struct sherd_draft_params *p,
			struct sherd_error *err)
{
	const struct sherd_model_info *info = &s->model->info;

	if (p->n_max < 0 || p->n_max > SHERD_DRAFT_MAX)
		return sherd_fail(err, -EINVAL, "%d guesses at a time are not between 1 and %d",
				  p->n_max, SHERD_DRAFT_MAX);
	if (info->first_layer || info->end_layer != info->n_layers || !s->model->tokenizer)
		return sherd_fail(
			err, -EINVAL,
			"%s: is no whole model with a tokenizer; for a part of one nothing "
			"can be drafted",
			info->path);
	return p->model ? check_vocabulary(s->model, p->model, err) : 0;
}

int sherd_draft_new(struct sherd_draft **draft, struct sherd_session *session,
		    const struct sherd_draft_params *p, struct sherd_error *err)
{
	const struct sherd_session_params own = { .sampler = session->sampler };
	struct sherd_draft *d;
	int rc = check_params(session, p, err);

	*draft = NULL;
	if (rc)
		return rc;
	d = sherd_calloc(1, sizeof(*d));
	if (!d)
		return sherd_fail_oom(err, sizeof(*d), "a draft");
	d->session = session;
	d->draw = p->draw;
	d->ctx = p->ctx;
	sherd_pace_init(&d->pace, p->n_max ? p->n_max : DEFAULT_MAX, p->always);
	if (p->model)
		rc = sherd_session_new(&d->own, p->model, &own, err);
	if (rc) {
		sherd_draft_free(d);
		return rc;
	}
	*draft = d;
	return 0;
}

void sherd_draft_free(struct sherd_draft *d)
{
	if (!d)
		return;
	sherd_session_free(d->own);
	free(d);
}

/* ----------------------------------------------------------------------- guessing */

static int common_start(const int32_t *a, int n, const int32_t *b, int m)
{
	int i = 0;

	while (i < n && i < m && a[i] == b[i])
		i++;
	return i;
}

/* Brings the draft model to the text [n], all of it; *behind: by how many tokens it was. */
static int catch_up(struct sherd_draft *d, const int32_t *text, int n, const float **logits,
		    int *behind)
{
	int pos = sherd_session_pos(d->own);
	/* the last token is computed in any case, for its logits */
	int same = MIN(common_start(d->own->tokens, pos, text, n), n - 1);
	int rc = 0;

	if (same < pos)
		rc = sherd_session_truncate(d->own, same, &d->stopped);
	*behind = n - same;
	return rc ? rc : sherd_prefill(d->own, text + same, n - same, logits, &d->stopped);
}

/* A text ends with an end: nothing needs to be guessed from there on. */
static bool is_guess(const struct sherd_draft *d, int32_t id)
{
	const struct sherd_tokenizer *tok = d->session->model->tokenizer;

	return id >= 0 && id < sherd_tokenizer_n_vocab(tok) && !sherd_tokenizer_is_end(tok, id);
}

static int guess_by_model(struct sherd_draft *d, const int32_t *text, int n, int32_t *guess,
			  int max)
{
	int room = d->own->model->info.n_ctx - n, behind, i;
	double start = sherd_now();
	const float *logits;
	int32_t id;

	max = MIN(max, room);
	if (max < 1 || catch_up(d, text, n, &logits, &behind))
		return 0;
	d->own->sampler = d->session->sampler; /* which may have been set anew */
	for (i = 0; i < max; i++) {
		id = sherd_session_sample(d->own, logits);
		if (!is_guess(d, id))
			break;
		guess[i] = id;
		if (i + 1 < max && sherd_prefill(d->own, &id, 1, &logits, &d->stopped))
			return 0;
	}
	if (behind <= CATCH_UP)
		sherd_pace_guessed(&d->pace, MAX(i, 1), sherd_now() - start);
	return i;
}

static int guess_by_ngram(const struct sherd_draft *d, const int32_t *text, int n, int32_t *guess,
			  int max)
{
	int got = sherd_ngram_guess(text, n, guess, max), i;

	for (i = 0; i < got && is_guess(d, guess[i]);)
		i++;
	return i;
}

/* Guesses at most @max tokens after @pos positions and the token in row[0]. */
static int guess(struct sherd_draft *d, int pos, int max)
{
	SHERD_TRACE_SCOPE("guess", NULL);
	int32_t *text = d->session->tokens;
	int n;

	max = MIN(max, d->session->model->info.n_ctx - pos - 1);
	max = MIN(max, d->session->model->info.n_batch - 1);
	if (max < 1 || d->stopped.msg[0])
		return 0;
	text[pos] = d->row[0]; /* where the step will put it */
	n = d->own ? guess_by_model(d, text, pos + 1, d->row + 1, max) :
		     guess_by_ngram(d, text, pos + 1, d->row + 1, max);
	return d->stopped.msg[0] ? 0 : n;
}

/* ------------------------------------------------------------------------ checking */

static int step(struct sherd_draft *d, int n_guesses, struct sherd_rows *rows,
		struct sherd_error *err)
{
	const struct sherd_item item = {
		.session = d->session, .tokens = d->row, .n = 1 + n_guesses, .want = SHERD_WANT_ALL
	};

	return sherd_step(d->session->model, &item, 1, 0, 0, rows, err);
}

static int32_t draw(struct sherd_draft *d, int pos, const float *logits)
{
	return d->draw ? d->draw(d->ctx, d->session, pos, logits) :
			 sherd_session_sample_at(d->session, pos, logits);
}

/* Draws after each row as long as the next one is right, into the queue; how many guesses were. */
static int draw_rows(struct sherd_draft *d, int pos, int n_guesses, const struct sherd_rows *rows)
{
	int i;

	for (i = 0;; i++) {
		d->queue[i] = draw(d, pos + 1 + i, rows->data + (size_t)i * rows->row_len);
		if (i == n_guesses || d->queue[i] != d->row[1 + i])
			break;
	}
	d->first = 0;
	d->end = i + 1;
	return i;
}

/* One step: @last goes to the session, and what is drawn after it to the queue. */
static int check(struct sherd_draft *d, int32_t last, struct sherd_error *err)
{
	int pos = sherd_session_pos(d->session), n, right, rc;
	double start = sherd_now(), guessed, done;
	struct sherd_rows rows;

	d->row[0] = last;
	n = guess(d, pos, sherd_pace_length(&d->pace));
	guessed = sherd_now();
	rc = step(d, n, &rows, err);
	if (rc && n) { /* a guess may lead where the text does not */
		n = 0;
		rc = step(d, n, &rows, err);
	}
	if (rc)
		return rc;
	done = sherd_now();
	right = draw_rows(d, pos, n, &rows);
	if (sherd_pace_checked(&d->pace, n, right, done - guessed)) {
		d->stats.seconds += done - start;
		d->stats.plain_s += n ? (right + 1) * d->pace.step_s[1] : done - start;
	}
	d->stats.n_steps++;
	d->stats.n_tokens += right + 1;
	d->stats.n_guessed += n;
	d->stats.n_accepted += right;
	d->pos = pos + 1 + right;
	return sherd_session_truncate(d->session, d->pos, err);
}

/* Who has moved the session meanwhile, though nobody should, does not want what was drawn. */
static int ahead_of_user(const struct sherd_draft *d)
{
	return sherd_session_pos(d->session) == d->pos ? d->end - d->first : 0;
}

void sherd_draft_settle(struct sherd_draft *d)
{
	int ahead = ahead_of_user(d);

	if (ahead)
		sherd_session_truncate(d->session, d->pos - ahead, NULL);
	d->first = d->end = 0;
}

int sherd_draft_next(struct sherd_draft *d, int32_t last, int32_t *token, struct sherd_error *err)
{
	int ahead = ahead_of_user(d), rc = 0;

	/* the user goes on with what was drawn, or has thought better of it */
	if (!ahead || d->session->tokens[d->pos - ahead] != last) {
		sherd_draft_settle(d);
		rc = check(d, last, err);
	}
	if (!rc)
		*token = d->queue[d->first++];
	return rc;
}

void sherd_draft_stats(const struct sherd_draft *d, struct sherd_draft_stats *stats)
{
	*stats = d->stats;
	stats->stopped = d->stopped.msg[0] ? d->stopped.msg : NULL;
}
