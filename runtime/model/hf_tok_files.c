/* SPDX-License-Identifier: MIT */
/*
 * hf_tok_files: tokenizers from before tokenizer.json. vocab.json with merges.txt is byte-pair
 * encoding over GPT-2's letters, and whose patterns it was made with only the family says;
 * vocab.txt, a token a line, is WordPiece.
 */
#include "model/hf_tok.h"

#include <stdlib.h>

/* The file's bytes, which live with @v. */
static int read_text(struct hf_vocab *v, const char *file, const char **text, size_t *size)
{
	char *path = hf_path(v->hf, file), *data, *copy;
	int ret;

	if (!path)
		return -ENOMEM;
	ret = sherd_read_file(path, HF_MAX_TOKENIZER, &data, size, v->hf->err);
	free(path);
	if (ret)
		return ret;
	copy = hf_vocab_own(v, *size + 1);
	if (copy)
		memcpy(copy, data, *size + 1);
	*text = copy;
	free(data);
	return copy ? 0 : -ENOMEM;
}

/* The next line of [*at, end), without what ends it; false: there is none. */
static bool next_line(const char **at, const char *end, struct gguf_str *line)
{
	const char *eol;

	if (*at == end)
		return false;
	eol = memchr(*at, '\n', (size_t)(end - *at));
	eol = eol ? eol : end;
	*line = (struct gguf_str){ *at, (size_t)(eol - *at) };
	*at = eol < end ? eol + 1 : end;
	if (line->len && line->data[line->len - 1] == '\r')
		line->len--;
	return true;
}

static int read_merges(struct hf_vocab *v)
{
	const char *text, *at, *end;
	struct gguf_str line;
	size_t size, n = 0;
	int ret = read_text(v, "merges.txt", &text, &size);

	if (ret)
		return ret;
	for (at = text, end = text + size; next_line(&at, end, &line);)
		n++;
	ret = hf_vocab_merges(v, n);
	for (at = text; !ret && next_line(&at, end, &line);)
		if (line.len && (v->n_merges || line.len < 8 || memcmp(line.data, "#version", 8)))
			v->merges[v->n_merges++] = line;
	return ret;
}

int hf_tok_merges_txt(struct hf_vocab *v)
{
	static const char *const qwen[] = { "qwen2", "qwen2moe", "qwen3", "qwen3moe" };
	const char *token;
	json_t *vocab, *id;
	size_t i;
	int ret = hf_vocab_json(v, "vocab.json", &vocab);

	hf_vocab_expect(v, json_object_size(vocab));
	json_object_foreach(vocab, token, id) {
		if (!ret)
			ret = hf_vocab_set(v, json_is_integer(id) ? json_integer_value(id) : -1,
					   token, strlen(token), 0, HF_NORMAL);
	}
	if (!ret)
		ret = read_merges(v);
	v->model = "gpt2";
	v->pre = "gpt-2";
	for (i = 0; i < ARRAY_SIZE(qwen); i++)
		if (!strcmp(v->hf->family->arch, qwen[i])) {
			v->pre = "qwen2";
			v->nfc = true;
		}
	return ret;
}

int hf_tok_vocab_txt(struct hf_vocab *v)
{
	const char *text, *at, *end;
	struct gguf_str line;
	int64_t id = 0;
	size_t size;
	int ret = read_text(v, "vocab.txt", &text, &size);

	if (ret)
		return ret;
	for (at = text, end = text + size; !ret && next_line(&at, end, &line);) {
		hf_vocab_expect(v, 1);
		ret = hf_vocab_set(v, id++, line.data, line.len, 0, HF_NORMAL);
	}
	v->model = "bert";
	return ret;
}
