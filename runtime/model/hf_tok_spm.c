/* SPDX-License-Identifier: MIT */
/*
 * hf_tok_spm: SentencePiece's tokenizer.model, a protobuf message: pieces (1) with text (1), score
 * (2) and type (3), the trainer's spec (2) and the normalizer's (3). The reader walks over fields
 * within the bytes that the message around them has, and skips what it does not know.
 */
#include "model/hf_tok.h"

#include <stdio.h>

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct pb {
	const uint8_t *at, *end;
};

struct field {
	unsigned number, wire;
	uint64_t value;	 /* VARINT, FIXED32 */
	struct pb bytes; /* BYTES */
};

static bool take_varint(struct pb *b, uint64_t *v)
{
	int shift;

	*v = 0;
	for (shift = 0; shift < 64 && b->at < b->end; shift += 7) {
		*v |= (uint64_t)(*b->at & 0x7f) << shift;
		if (!(*b->at++ & 0x80))
			return true;
	}
	return false;
}

/* 1: a field, 0: the end, -EINVAL: it is no message. */
static int take_field(struct pb *b, struct field *f)
{
	uint64_t key, n;

	if (b->at == b->end)
		return 0;
	if (!take_varint(b, &key) || !(key >> 3) || key >> 3 > 1u << 29)
		return -EINVAL;
	*f = (struct field){ .number = (unsigned)(key >> 3), .wire = key & 7 };
	switch (f->wire) {
	case VARINT:
		return take_varint(b, &f->value) ? 1 : -EINVAL;
	case BYTES:
		if (!take_varint(b, &n) || n > (uint64_t)(b->end - b->at))
			return -EINVAL;
		f->bytes = (struct pb){ b->at, b->at + n };
		break;
	case FIXED32:
	case FIXED64:
		n = f->wire == FIXED32 ? 4 : 8;
		if (n > (uint64_t)(b->end - b->at))
			return -EINVAL;
		memcpy(&f->value, b->at, (size_t)n);
		break;
	default:
		return -EINVAL;
	}
	b->at += n;
	return 1;
}

static float as_float(uint64_t v)
{
	uint32_t u = (uint32_t)v;
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

static int take_piece(struct hf_vocab *v, struct pb b, int64_t id)
{
	struct pb text = { (const uint8_t *)"", (const uint8_t *)"" };
	uint64_t type = HF_NORMAL;
	float score = 0;
	struct field f;
	int ret;

	while ((ret = take_field(&b, &f)) > 0)
		if (f.number == 1 && f.wire == BYTES)
			text = f.bytes;
		else if (f.number == 2 && f.wire == FIXED32)
			score = as_float(f.value);
		else if (f.number == 3 && f.wire == VARINT)
			type = f.value;
	if (ret < 0)
		return ret;
	if (score != score || type < HF_NORMAL || type > HF_BYTE)
		return -EINVAL;
	if (type == HF_UNKNOWN && v->role[HF_UNK] < 0)
		v->role[HF_UNK] = (int32_t)id;
	hf_vocab_expect(v, 1);
	return hf_vocab_set(v, id, (const char *)text.at, (size_t)(text.end - text.at), score,
			    (enum hf_token_type)type);
}

/* SentencePiece's kinds of model */
enum { UNIGRAM = 1, BPE = 2, WORD = 3, CHAR = 4 };

struct spec {
	uint64_t kind, suffix;
	uint64_t prefix, extra_ws;
	int32_t id[3]; /* unk, bos, eos */
	struct pb charsmap;
};

static int take_trainer(struct pb b, struct spec *s)
{
	struct field f;
	int ret;

	while ((ret = take_field(&b, &f)) > 0) {
		if (f.wire != VARINT)
			continue;
		if (f.number == 3)
			s->kind = f.value;
		else if (f.number == 24)
			s->suffix = f.value;
		else if (f.number >= 40 && f.number <= 42)
			s->id[f.number - 40] = f.value > INT32_MAX ? -1 : (int32_t)f.value;
	}
	return ret;
}

static int take_normalizer(struct pb b, struct spec *s)
{
	struct field f;
	int ret;

	while ((ret = take_field(&b, &f)) > 0)
		if (f.number == 2 && f.wire == BYTES)
			s->charsmap = f.bytes;
		else if (f.number == 3 && f.wire == VARINT)
			s->prefix = f.value;
		else if (f.number == 4 && f.wire == VARINT)
			s->extra_ws = f.value;
	return ret;
}

static int take_model(struct hf_vocab *v, struct pb b, struct spec *s)
{
	struct field f;
	int64_t id = 0;
	int ret;

	while ((ret = take_field(&b, &f)) > 0) {
		if (f.wire != BYTES)
			continue;
		if (f.number == 1)
			ret = take_piece(v, f.bytes, id++);
		else if (f.number == 2)
			ret = take_trainer(f.bytes, s);
		else if (f.number == 3)
			ret = take_normalizer(f.bytes, s);
		if (ret < 0)
			break;
	}
	return ret;
}

static int check_spec(struct hf_vocab *v, const struct spec *s, const char *name)
{
	bool plain = s->charsmap.at == s->charsmap.end && !s->extra_ws;

	if (s->kind != UNIGRAM && s->kind != BPE)
		return sherd_fail(v->hf->err, -ENOTSUP,
				  "%s: is a SentencePiece model of words or characters; BPE and "
				  "unigram are supported",
				  name);
	if (s->suffix)
		return sherd_fail(v->hf->err, -ENOTSUP,
				  "%s: has its spaces behind words, which is not supported", name);
	if (s->kind == BPE && !plain)
		return sherd_fail(v->hf->err, -ENOTSUP,
				  "%s: is a SentencePiece BPE model that normalizes its text; only "
				  "one that takes text as it is (\"identity\") is supported",
				  name);
	return 0;
}

int hf_tok_spm(struct hf_vocab *v, const uint8_t *data, size_t size, const char *name)
{
	struct spec s = { .kind = UNIGRAM, .prefix = 1, .extra_ws = 1, .id = { 0, 1, 2 } };
	int ret;

	v->role[HF_UNK] = -1;
	if (!size) /* an empty file has no mapping */
		data = (const uint8_t *)"";
	ret = take_model(v, (struct pb){ data, data + size }, &s);
	if (ret == -EINVAL || (!ret && !v->n))
		return sherd_fail(v->hf->err, -EINVAL,
				  "%s: is no SentencePiece model (its protobuf message is broken)",
				  name);
	if (!ret)
		ret = check_spec(v, &s, name);
	if (ret)
		return ret;
	v->model = s.kind == BPE ? "llama" : "t5";
	v->has_scores = true;
	v->space_prefix = s.prefix != 0;
	v->remove_extra_ws = s.extra_ws != 0;
	v->charsmap = s.charsmap.at;
	v->charsmap_size = (size_t)(s.charsmap.end - s.charsmap.at);
	v->role[HF_BOS] = s.id[1];
	v->role[HF_EOS] = s.id[2];
	v->add_bos = s.kind == BPE; /* as the classes have it that such models go with */
	v->add_eos = s.kind == UNIGRAM;
	return 0;
}
