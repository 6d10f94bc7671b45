/* SPDX-License-Identifier: MIT */
/*
 * pack: writes a shard from a plan: metadata, the places of all planes, room for them in the file,
 * and when the rows are done (pack_rows.c) the source's hash. What was lost is pack_report.c's.
 */
#include "model/pack.h"
#include "base/trace.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ALIGNMENT 4096
#define HASH_KEY  "sherd.source.sha256"

/* ---------------------------------------------------------------- header and file */

static void put_prefixed(struct gguf_writer *w, const struct gguf *g, const char *prefix,
			 const char *but)
{
	size_t n = strlen(prefix), i;
	char key[256];

	for (i = 0; i < g->n_values; i++) {
		const struct gguf_value *v = &g->values[i];

		if (v->key.len < n || v->key.len >= sizeof(key) || memcmp(v->key.data, prefix, n))
			continue;
		memcpy(key, v->key.data, v->key.len);
		key[v->key.len] = '\0';
		if (strcmp(key, but))
			gguf_put_value(w, key, v);
	}
}

static void put_metadata(struct gguf_writer *w, const struct sherd_packer *p)
{
	const struct sherd_pack_plan *plan = &p->plan;
	uint32_t layers[2] = { plan->first_layer, plan->end_layer };
	char zeros[SHERD_SHA256_HEX], prefix[80], vocab[96], name[256] = "";
	struct gguf_str s = { 0 };

	memset(zeros, '0', sizeof(zeros) - 1);
	zeros[sizeof(zeros) - 1] = '\0';
	if (gguf_get_str(plan->g, "general.name", &s, NULL) == 1)
		snprintf(name, sizeof(name), "%.*s", (int)MIN(s.len, sizeof(name) - 1), s.data);
	gguf_put_str(w, "general.architecture", "sherd");
	gguf_put_str(w, HASH_KEY, zeros); /* filled in by patch_hash() */
	gguf_put_u32(w, "sherd.layout_version", SHERD_LAYOUT_VERSION);
	gguf_put_str(w, "sherd.source.architecture", plan->hp.arch->name);
	gguf_put_str(w, "sherd.source.name", name);
	gguf_put_u32_array(w, "sherd.layers", layers, 2);
	gguf_put_u32(w, "sherd.bits", (uint32_t)plan->bits);
	put_prefixed(w, plan->g, "general.name", "");
	/*
	 * the source's size is that of its tokenizer or embedding, which may not be in this shard
	 */
	snprintf(prefix, sizeof(prefix), "%s.", plan->hp.arch->name);
	snprintf(vocab, sizeof(vocab), "%svocab_size", prefix);
	gguf_put_u32(w, vocab, plan->hp.n_vocab);
	put_prefixed(w, plan->g, prefix, vocab);
	/* the first stage's is the head's, the last one has to know what ends a text */
	if (plan->first_layer == 0 || plan->end_layer == plan->hp.n_layers)
		put_prefixed(w, plan->g, "tokenizer.", "");
}

static void put_plane(struct gguf_writer *w, const char *item, const char *plane, uint64_t size,
		      uint64_t *offset, uint64_t *at)
{
	char name[80];

	*at = *offset;
	if (!size)
		return;
	snprintf(name, sizeof(name), "%s.%s", item, plane);
	gguf_put_tensor(w, name, GGML_I8, 1, &size);
	*offset = ROUND_UP(*offset + size, ALIGNMENT);
}

/* Names an item's planes; their places count from the first tensor for now. */
static void put_item(struct gguf_writer *w, const struct sherd_pack_item *it, uint64_t *offset,
		     struct sherd_pack_place *at)
{
	const struct sherd_format *f = &it->fmt;
	uint32_t record[] = { f->elem, f->group, f->scale, f->min, f->rows, f->cols };
	uint64_t n = f->cols;
	size_t nv, ns, nm;
	char key[96];

	if (it->vector) {
		at->values = *offset;
		gguf_put_tensor(w, it->name, GGML_F32, 1, &n);
		*offset = ROUND_UP(*offset + n * sizeof(float), ALIGNMENT);
		return;
	}
	snprintf(key, sizeof(key), "sherd.format.%s", it->name);
	gguf_put_u32_array(w, key, record, ARRAY_SIZE(record));
	sherd_format_sizes(f, &nv, &ns, &nm);
	put_plane(w, it->name, "values", nv, offset, &at->values);
	put_plane(w, it->name, "scales", ns, offset, &at->scales);
	put_plane(w, it->name, "mins", nm, offset, &at->mins);
}

static int write_header(struct sherd_packer *p, struct sherd_error *err)
{
	struct gguf_writer *w = gguf_writer_new(p->fd, p->name, ALIGNMENT);
	uint64_t offset = 0;
	off_t base = -1;
	size_t i;
	int ret;

	if (!w)
		return sherd_fail_oom(err, 0, "writing a shard");
	put_metadata(w, p);
	for (i = 0; i < p->plan.n_items; i++)
		put_item(w, &p->plan.items[i], &offset, &p->place[i]);
	ret = gguf_writer_header(w, err);
	gguf_writer_free(w);
	if (!ret)
		base = lseek(p->fd, 0, SEEK_CUR);
	if (!ret && base < 0)
		ret = sherd_fail(err, -errno, "%s: can't be written at any place: %s", p->name,
				 strerror(errno));
	if (ret)
		return ret;
	base = ROUND_UP(base, ALIGNMENT);
	for (i = 0; i < p->plan.n_items; i++) {
		p->place[i].values += base;
		p->place[i].scales += base;
		p->place[i].mins += base;
	}
	p->size = base + offset;
	return 0;
}

/* Asks for all the room at once, so that a full disk is known before the work. */
static int reserve(const struct sherd_packer *p, struct sherd_error *err)
{
	int code;

	if (!fallocate(p->fd, 0, 0, p->size)) {
		sherd_file_large_pages(p->fd, p->size);
		return 0;
	}
	code = errno;
	if (code == EOPNOTSUPP || code == ENOSYS)
		code = ftruncate(p->fd, p->size) ? errno : 0;
	if (code)
		return sherd_fail(err, -code, "%s: no room for a shard of %llu MiB: %s", p->name,
				  (unsigned long long)(p->size >> 20), strerror(code));
	return 0;
}

/* The digest is known last and stands in the header: the first of our keys, 64 digits long. */
static int patch_hash(const struct sherd_packer *p, struct sherd_error *err)
{
	char head[4096];
	ssize_t n = pread(p->fd, head, sizeof(head), 0);
	char *key = n > 0 ? memmem(head, n, HASH_KEY, strlen(HASH_KEY)) : NULL;
	/* the key is followed by the value's kind (u32) and length (u64) */
	size_t at = key ? key - head + strlen(HASH_KEY) + 12 : 0;

	if (!key || at + SHERD_SHA256_HEX - 1 > (size_t)n || head[at] != '0')
		return sherd_fail(err, -EIO, "%s: can't find " HASH_KEY " in its header", p->name);
	return sherd_pack_write(p, p->hash, SHERD_SHA256_HEX - 1, at, err);
}

/* ---------------------------------------------------------------------- from plan to file */

static int pack_all(struct sherd_packer *p, struct sherd_pack_report *report,
		    struct sherd_error *err)
{
	int ret = write_header(p, err);

	if (!ret)
		ret = reserve(p, err);
	if (ret)
		return ret;
	sherd_pack_rows(p);
	if (p->ret) {
		if (err)
			*err = p->err;
		return p->ret;
	}
	ret = patch_hash(p, err);
	if (!ret && report)
		ret = sherd_pack_report_make(p, report, err);
	return ret;
}

/* Somebody who asks for 4 bits of a file that has 8 should not believe to have got them. */
static void note_bits_without_effect(const struct gguf *g, const struct sherd_pack_params *p)
{
	struct sherd_format as_is, asked;
	char note[160];
	size_t i;

	for (i = 0; i < g->n_tensors; i++) {
		if (g->tensors[i].n_dims < 2 ||
		    sherd_quant_format(g->tensors[i].type, 0, &as_is) ||
		    sherd_quant_format(g->tensors[i].type, p->bits, &asked))
			continue;
		if (!sherd_format_alike(&as_is, &asked))
			return;
	}
	snprintf(
		note, sizeof(note),
		"%d bits change nothing: all matrices of the file are quantized already, and stay as "
		"they are",
		p->bits);
	p->note(p->ctx, note);
}

int sherd_pack(const struct gguf *g, int fd, const char *name,
	       const struct sherd_pack_params *params, struct sherd_pack_report *report,
	       struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("pack", name);
	struct sherd_packer p = { .params = params, .fd = fd, .name = name };
	int ret = sherd_pack_plan_make(&p.plan, g, params, err);

	if (ret)
		goto out_plan;
	if (params->bits && params->note)
		note_bits_without_effect(g, params);
	p.place = sherd_calloc(p.plan.n_items, sizeof(*p.place));
	p.lost = sherd_calloc(p.plan.n_items, sizeof(*p.lost));
	if (!p.place || !p.lost) {
		ret = sherd_fail_oom(err, p.plan.n_items * sizeof(*p.place), "packing");
		goto out_arrays;
	}
	pthread_mutex_init(&p.lock, NULL);
	ret = pack_all(&p, report, err);
	pthread_mutex_destroy(&p.lock);
out_arrays:
	free(p.place);
	free(p.lost);
out_plan:
	sherd_pack_plan_clear(&p.plan);
	return ret;
}

int sherd_pack_size(const struct gguf *g, const struct sherd_pack_params *params, uint64_t *bytes,
		    struct sherd_error *err)
{
	struct sherd_pack_plan plan;
	int ret = sherd_pack_plan_make(&plan, g, params, err);
	size_t nv, ns, nm, i;

	/* the tokenizer is copied: no more than all of the source's header */
	*bytes = plan.n_items && g->n_tensors ? ROUND_UP(g->header_bytes, ALIGNMENT) : 0;
	for (i = 0; i < plan.n_items && !ret; i++) {
		const struct sherd_pack_item *it = &plan.items[i];

		sherd_format_sizes(&it->fmt, &nv, &ns, &nm);
		if (it->vector)
			nv = it->fmt.cols * sizeof(float);
		*bytes += ROUND_UP((uint64_t)nv, ALIGNMENT) + ROUND_UP((uint64_t)ns, ALIGNMENT) +
			  ROUND_UP((uint64_t)nm, ALIGNMENT);
	}
	sherd_pack_plan_clear(&plan);
	return ret;
}
