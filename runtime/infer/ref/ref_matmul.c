/* SPDX-License-Identifier: MIT */
/*
 * ref_matmul: W times rows, a tile (16 rows of W x 32 columns) at a time. A tile is unpacked once
 * for a panel of activation rows. What the order of additions is: within a chunk of 256 columns
 * one chain of fma from 0 in column order (a step a group for integers, a step a column for
 * floats); the chunks are added to the total in order.
 */
#include "infer/ref/ref.h"
#include "num.h"

#define PANEL	    16 /* activation rows at a time: their sums live on the stack */
#define CHUNK_TILES (SHERD_CHUNK / SHERD_TILE_COLS)

typedef float sums_t[PANEL][SHERD_TILE_ROWS];

/* Where in the planes a row block's tile lies. */
struct tile {
	const struct sherd_tensor *w;
	size_t first_row, first_col;
	int n_cols; /* that are real */
};

static const uint8_t *tile_values(const struct tile *t)
{
	unsigned shift;

	return (const uint8_t *)t->w->values +
	       sherd_value_offset(&t->w->fmt, t->first_row, t->first_col, &shift);
}

/* u [16][32]: a row's integers side by side, less what they are offset by. */
static void unpack_int(const struct tile *t, int16_t u[SHERD_TILE_ROWS][SHERD_TILE_COLS])
{
	const struct sherd_format *f = &t->w->fmt;
	const uint8_t *p = tile_values(t);
	int zero = f->min == SHERD_ELEM_NONE ? 1 << (sherd_elem_bits(f->elem) - 1) : 0;
	int line, r, i;

	if (f->elem == SHERD_ELEM_U8) {
		for (line = 0; line < 8; line++)
			for (r = 0; r < SHERD_TILE_ROWS; r++)
				for (i = 0; i < 4; i++)
					u[r][4 * line + i] = *p++ - zero;
		return;
	}
	for (line = 0; line < 4; line++) {
		for (r = 0; r < SHERD_TILE_ROWS; r++) {
			for (i = 0; i < 4; i++, p++) {
				u[r][8 * line + i] = (*p & 15) - zero;
				u[r][8 * line + 4 + i] = (*p >> 4) - zero;
			}
		}
	}
}

/* The 16 scales, or minima, of the group that column @col is in. */
static void load_plane(const struct tile *t, enum sherd_elem e, const void *plane, size_t col,
		       float out[SHERD_TILE_ROWS])
{
	size_t i = sherd_scale_index(&t->w->fmt, t->first_row, col);

	if (e == SHERD_ELEM_F32)
		memcpy(out, (const float *)plane + i, SHERD_TILE_ROWS * sizeof(*out));
	else
		sherd_ref_halves((const uint16_t *)plane + i, SHERD_TILE_ROWS, out);
}

/* One group of @len columns at @at in the tile: one fma a row of W, two with minima. */
#define GROUP_FN(name, len)                                                                       \
	static SHERD_REF_HOT void name(const int16_t u[SHERD_TILE_ROWS][SHERD_TILE_COLS],         \
				       int at, const int8_t *q8, const float *dw,                 \
				       const float *mw, float d, float ds, float *acc)            \
	{                                                                                         \
		int16_t q[len];                                                                   \
		int r, c;                                                                         \
                                                                                                  \
		for (c = 0; c < len; c++)                                                         \
			q[c] = q8[c];                                                             \
		for (r = 0; r < SHERD_TILE_ROWS; r++) {                                           \
			int32_t idot = 0;                                                         \
                                                                                                  \
			for (c = 0; c < len; c++)                                                 \
				idot += u[r][at + c] * q[c];                                      \
			acc[r] = fmaf((float)idot, dw[r] * d, acc[r]);                            \
		}                                                                                 \
		for (r = 0; mw && r < SHERD_TILE_ROWS; r++)                                       \
			acc[r] = fmaf(-mw[r], ds, acc[r]);                                        \
	}
GROUP_FN(add_group_32, 32)
GROUP_FN(add_group_16, 16)

static void add_tile_int(const struct tile *t, const struct sherd_ref_act *a, int first, int n,
			 sums_t acc)
{
	const struct sherd_format *f = &t->w->fmt;
	int16_t u[SHERD_TILE_ROWS][SHERD_TILE_COLS];
	float dw[2][SHERD_TILE_ROWS], mw[2][SHERD_TILE_ROWS];
	int n_groups = SHERD_TILE_COLS / f->group, g, i;
	bool min = f->min != SHERD_ELEM_NONE;

	unpack_int(t, u);
	for (g = 0; g < n_groups; g++) {
		load_plane(t, f->scale, t->w->scales, t->first_col + g * f->group, dw[g]);
		if (min)
			load_plane(t, f->min, t->w->mins, t->first_col + g * f->group, mw[g]);
	}
	for (i = 0; i < n; i++) {
		size_t row = first + i;
		const int8_t *q = a->q + row * a->q_stride + t->first_col;
		size_t k = (row * a->q_stride + t->first_col) / SHERD_ACT_GROUP;
		const struct sherd_act_group *ag = &a->groups[k];

		if (n_groups == 1) {
			add_group_32(u, 0, q, dw[0], min ? mw[0] : NULL, ag->d, ag->ds, acc[i]);
			continue;
		}
		for (g = 0; g < 2; g++)
			add_group_16(u, 16 * g, q + 16 * g, dw[g], min ? mw[g] : NULL, ag->d,
				     min ? a->halves[k].ds[g] : 0.0f, acc[i]);
	}
}

/* v [32][16]: a column's floats side by side, as they lie in the plane. */
static void unpack_float(const struct tile *t, float v[SHERD_TILE_COLS][SHERD_TILE_ROWS])
{
	const void *p = tile_values(t);
	const uint16_t *h = p;
	enum sherd_elem e = t->w->fmt.elem;
	int c, r;

	if (e == SHERD_ELEM_F32)
		memcpy(v, p, SHERD_TILE_COLS * sizeof(*v));
	else if (e == SHERD_ELEM_F16)
		for (c = 0; c < SHERD_TILE_COLS; c++)
			sherd_ref_halves(h + c * SHERD_TILE_ROWS, SHERD_TILE_ROWS, v[c]);
	else
		for (c = 0; c < SHERD_TILE_COLS; c++)
			for (r = 0; r < SHERD_TILE_ROWS; r++)
				v[c][r] = sherd_bf16_to_f32(h[c * SHERD_TILE_ROWS + r]);
}

static SHERD_REF_HOT void add_columns(float v[][SHERD_TILE_ROWS], int n_cols, const float *x,
				      float *sum)
{
	float acc[SHERD_TILE_ROWS];
	int c, r;

	memcpy(acc, sum, sizeof(acc));
	for (c = 0; c < n_cols; c++)
		for (r = 0; r < SHERD_TILE_ROWS; r++)
			acc[r] = fmaf(v[c][r], x[c], acc[r]);
	memcpy(sum, acc, sizeof(acc));
}

static void add_tile_float(const struct tile *t, const struct sherd_ref_act *a, int first, int n,
			   sums_t acc)
{
	float v[SHERD_TILE_COLS][SHERD_TILE_ROWS];
	int i;

	unpack_float(t, v);
	for (i = 0; i < n; i++)
		add_columns(v, t->n_cols, a->x + (first + i) * a->x_stride + t->first_col, acc[i]);
}

/* total [n][16] = 16 rows of W times a panel of rows. */
static void block_times_panel(const struct sherd_tensor *w, size_t first_row,
			      const struct sherd_ref_act *a, int first, int n, sums_t total)
{
	size_t cols = w->fmt.cols, col;
	sums_t acc;
	int tile, i, r;

	memset(total, 0, sizeof(sums_t));
	for (col = 0; col < cols;) {
		memset(acc, 0, sizeof(acc));
		for (tile = 0; tile < CHUNK_TILES && col < cols; tile++, col += SHERD_TILE_COLS) {
			struct tile t = { w, first_row, col, MIN(SHERD_TILE_COLS, cols - col) };

			if (sherd_elem_is_int(w->fmt.elem))
				add_tile_int(&t, a, first, n, acc);
			else
				add_tile_float(&t, a, first, n, acc);
		}
		for (i = 0; i < n; i++)
			for (r = 0; r < SHERD_TILE_ROWS; r++)
				total[i][r] = total[i][r] + acc[i][r];
	}
}

void sherd_ref_matmul(const struct sherd_tensor *w, const struct sherd_ref_act *a, int n_rows,
		      const float *bias, bool residual, float *dst, size_t dst_stride)
{
	size_t rows = w->fmt.rows, row, r;
	sums_t total;
	int first, i;

	for (row = 0; row < rows; row += SHERD_TILE_ROWS) {
		for (first = 0; first < n_rows; first += PANEL) {
			int n = MIN(PANEL, n_rows - first);

			block_times_panel(w, row, a, first, n, total);
			for (i = 0; i < n; i++) {
				float *out = dst + (first + i) * dst_stride + row;

				for (r = 0; r < MIN(SHERD_TILE_ROWS, rows - row); r++) {
					float y = total[i][r];

					if (bias)
						y = y + bias[row + r];
					out[r] = residual ? out[r] + y : y;
				}
			}
		}
	}
}
