/* SPDX-License-Identifier: MIT */
/* cl_selftest_data: what the cases are made of - activations and matrices on host and device. */
#include "infer/cl/cl_selftest.h"

struct sherd_st_act sherd_st_new_act(struct sherd_st *t, int rows, int width)
{
	struct sherd_st_act h = { .width = width, .n_groups = DIV_ROUND_UP(width, 32),
				  .rows = rows + SHERD_ACT_PAD };

	h.a = sherd_st_alloc(t, 4 * h.rows * width);
	h.q = sherd_st_alloc(t, 32 * h.rows * h.n_groups);
	h.groups = sherd_st_alloc(t, 16 * h.rows * h.n_groups);
	h.halves = sherd_st_alloc(t, 16 * h.rows * h.n_groups);
	sherd_st_poison(h.a, 4 * h.rows * width);
	sherd_st_poison(h.q, 32 * h.rows * h.n_groups);
	sherd_st_poison(h.groups, 16 * h.rows * h.n_groups);
	sherd_st_poison(h.halves, 16 * h.rows * h.n_groups);
	return h;
}

void sherd_st_quantize_row(struct sherd_st_act *h, int row, const float *x)
{
	memcpy(h->a + (size_t)row * h->width, x, 4 * h->width);
	sherd_ref_quantize(x, h->width, h->q + row * h->n_groups * 32,
			   h->groups + row * h->n_groups, h->halves + row * h->n_groups);
}

struct sherd_st_act sherd_st_random_act(struct sherd_st *t, int rows, int width)
{
	struct sherd_st_act h = sherd_st_new_act(t, rows, width);
	float *x = sherd_st_floats(t, (size_t)rows * width);
	int i;

	for (i = 0; i < rows; i++)
		sherd_st_quantize_row(&h, i, x + (size_t)i * width);
	return h;
}

struct sherd_ref_act sherd_st_ref_act(const struct sherd_st_act *h)
{
	return (struct sherd_ref_act){
		h->a, h->width, h->q, h->n_groups * 32, h->groups, h->halves
	};
}

struct sherd_cl_act sherd_st_upload_act(struct sherd_st *t, const struct sherd_st_act *h)
{
	return (struct sherd_cl_act){
		.a = sherd_st_upload(t, h->a, 4 * h->rows * h->width),
		.a_stride = h->width,
		.q = sherd_st_upload(t, h->q, 32 * h->rows * h->n_groups),
		.groups = sherd_st_upload(t, h->groups, 16 * h->rows * h->n_groups),
		.halves = sherd_st_upload(t, h->halves, 16 * h->rows * h->n_groups),
		.want = SHERD_QUANT_F32 | SHERD_QUANT_Q8 | SHERD_QUANT_HALVES,
	};
}

struct sherd_cl_act sherd_st_poisoned_act(struct sherd_st *t, int rows, int width)
{
	struct sherd_st_act h = sherd_st_new_act(t, rows, width);

	return sherd_st_upload_act(t, &h);
}

void sherd_st_expect_act(struct sherd_st *t, const struct sherd_cl_act *a,
			 const struct sherd_st_act *h, const char *what)
{
	int rows = h->rows - SHERD_ACT_PAD;

	sherd_st_expect(t, a->a, h->a, 4 * h->rows * h->width, what, "%d x %d floats", rows,
			h->width);
	sherd_st_expect(t, a->q, h->q, 32 * h->rows * h->n_groups, what, "%d x %d int8", rows,
			h->width);
	sherd_st_expect(t, a->groups, h->groups, 16 * h->rows * h->n_groups, what, "%d x %d groups",
			rows, h->width);
	sherd_st_expect(t, a->halves, h->halves, 16 * h->rows * h->n_groups, what, "%d x %d halves",
			rows, h->width);
}

struct sherd_cl_rows sherd_st_upload_rows(struct sherd_st *t, const float *x, int n, int stride)
{
	return (struct sherd_cl_rows){ sherd_st_upload(t, x, 4 * (size_t)n * stride), stride };
}

static void fill_plane(struct sherd_st *t, enum sherd_elem e, void *plane, size_t size, float scale)
{
	size_t i;

	for (i = 0; e == SHERD_ELEM_F32 && i < size / 4; i++)
		((float *)plane)[i] = sherd_st_float(t) * scale;
	for (i = 0; e == SHERD_ELEM_F16 && i < size / 2; i++)
		((uint16_t *)plane)[i] = sherd_f32_to_f16(sherd_st_float(t) * scale);
	for (i = 0; e == SHERD_ELEM_BF16 && i < size / 2; i++) {
		float f = sherd_st_float(t) * scale;
		uint32_t u;

		memcpy(&u, &f, 4);
		((uint16_t *)plane)[i] = u >> 16;
	}
	for (i = 0; sherd_elem_is_int(e) && i < size; i++)
		((uint8_t *)plane)[i] = sherd_st_random(t);
}

void sherd_st_matrix(struct sherd_st *t, const struct sherd_format *f, struct sherd_tensor *host,
		     struct sherd_cl_matrix *dev)
{
	void *v, *s, *m;

	memset(host, 0, sizeof(*host));
	memset(dev, 0, sizeof(*dev));
	host->fmt = dev->fmt = *f;
	sherd_format_sizes(f, &host->values_size, &host->scales_size, &host->mins_size);
	host->values = v = sherd_st_alloc(t, host->values_size + 64);
	fill_plane(t, f->elem, v, host->values_size, 1.0f);
	dev->values = sherd_st_upload(t, v, host->values_size);
	if (host->scales_size) {
		host->scales = s = sherd_st_alloc(t, host->scales_size);
		fill_plane(t, f->scale, s, host->scales_size, 0.01f);
		dev->scales = sherd_st_upload(t, s, host->scales_size);
	}
	if (host->mins_size) {
		host->mins = m = sherd_st_alloc(t, host->mins_size);
		fill_plane(t, f->min, m, host->mins_size, 0.05f);
		dev->mins = sherd_st_upload(t, m, host->mins_size);
	}
}

struct sherd_format sherd_st_format(const struct sherd_cl_program *p, int rows, int cols)
{
	static const enum sherd_elem mins[] = { SHERD_ELEM_NONE, SHERD_ELEM_F16, SHERD_ELEM_F32 };

	if (p->kind == SHERD_CL_FLOAT)
		return (struct sherd_format){ p->arg[0],       0,    SHERD_ELEM_NONE,
					      SHERD_ELEM_NONE, rows, cols };
	return (struct sherd_format){ p->arg[0] == 4 ? SHERD_ELEM_U4 : SHERD_ELEM_U8, p->arg[1],
				      p->arg[2] ? SHERD_ELEM_F32 : SHERD_ELEM_F16, mins[p->arg[3]],
				      rows, cols };
}
