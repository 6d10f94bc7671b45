/* SPDX-License-Identifier: MIT */
/*
 * hparams: what the readers of a model's numbers share: keys under "<architecture>.", each with its
 * range. hparams.c is in charge, hparams_rope.c reads positions. Nobody else includes this.
 */
#ifndef SHERD_HPARAMS_H
#define SHERD_HPARAMS_H

#include "model/arch.h"

#define HPARAMS_MAX_CTX (1 << 30)

struct hparams_reader {
	const struct gguf *g;
	const char *arch;
	struct sherd_error *err;
	char key[160];
};

/* "<architecture>.@name", in r->key */
const char *hparams_key(struct hparams_reader *r, const char *name);
int hparams_missing(struct hparams_reader *r, const char *name);
/*
 * An integer in [1, hi]; @out is left alone if it is not there. Pruned models have an array with a
 * value a layer: it will do if all are equal. 1: there, 0: not there.
 */
int hparams_int(struct hparams_reader *r, const char *name, int hi, int *out);
/* The same where it has to be there: 0. */
int hparams_need(struct hparams_reader *r, const char *name, int hi, int *out);
/* A finite number in [lo, hi]; NaN is in no range. */
int hparams_float(struct hparams_reader *r, const char *name, float lo, float hi, float *out);

int hparams_rope(struct hparams_reader *r, struct sherd_hparams *hp);

#endif
