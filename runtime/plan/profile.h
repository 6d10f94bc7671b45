/* SPDX-License-Identifier: MIT */
/*
 * profile: how long a node takes for each part of a model, as it measured itself, and what memory
 * it has. Nothing in it is fitted: a curve is measured points, and between two of them a line.
 *
 * What a stage takes for a chunk of so many tokens is
 *
 *	step + its layers + embed (the first stage) + output (the last, where a row is wanted)
 *
 * each of them a curve over tokens; output's is over wanted rows. Layers of one kind, that is with
 * matrices of the same shapes and formats, share a curve. A profile may know several widths: the
 * same model with its weights as the file has them, and requantized to 4 or 8 bits.
 */
#ifndef SHERD_PROFILE_H
#define SHERD_PROFILE_H

#include "plan/json.h"

#define SHERD_CURVE_POINTS  16
#define SHERD_NAME_MAX	    64 /* a node's name, with its NUL */
#define SHERD_PLAN_LAYERS   1024 /* of any model */
#define SHERD_PROFILE_KINDS 255

struct sherd_curve {
	int n;
	int tokens[SHERD_CURVE_POINTS]; /* rising */
	double us[SHERD_CURVE_POINTS];
};

/* Between points a line; before the first its time; beyond the last the last slope. */
double sherd_curve_at(const struct sherd_curve *c, int tokens);
/* Points come in rising order. */
void sherd_curve_add(struct sherd_curve *c, int tokens, double us);

struct sherd_profile_kind {
	char format[128]; /* for people: "int4 g32 f16" */
	struct sherd_curve us;
};

struct sherd_profile_width {
	int bits; /* 0: as the file has them */
	struct sherd_curve step, embed, output;
	struct sherd_profile_kind *kinds; /* [n_kinds] */
	int n_kinds;
	uint8_t *kind_of; /* [n_layers] */
};

struct sherd_profile {
	char node[SHERD_NAME_MAX];
	char device[128];
	char bit_profile[SHERD_SHA256_HEX]; /* or SHERD_UNTESTED */
	char model_name[128], model_hash[SHERD_SHA256_HEX];
	int n_layers, hidden;
	uint64_t memory_total, memory_available;
	struct sherd_profile_width *widths; /* [n_widths], no two of the same bits */
	int n_widths;
};

/* All free with sherd_profile_free(). */
int sherd_profile_read(struct sherd_profile **p, const char *path, struct sherd_error *err);
/* From a value in another file, whose first fault a fault becomes; NULL then. */
struct sherd_profile *sherd_profile_from_json(const struct sherd_json_at *at);
json_t *sherd_profile_to_json(const struct sherd_profile *p);
void sherd_profile_free(struct sherd_profile *p);

/* NULL: not measured. */
const struct sherd_profile_width *sherd_profile_width(const struct sherd_profile *p, int bits);

/* Letters, digits, '.', '_' and '-'; not "head", which is who runs the pipeline. */
bool sherd_node_name_ok(const char *name);
/* Reads one, with a fault where it is none. */
void sherd_json_node_name(const struct sherd_json_at *at, char name[SHERD_NAME_MAX]);
/* "file", "4", "8" */
const char *sherd_bits_name(int bits);

#endif
