/* SPDX-License-Identifier: MIT */
/*
 * fuzz_hf: one file of a Hugging Face folder is the input but for its first byte, which says which of
 * them; the others are small and right. What opens is read to its end: every row of every tensor,
 * the hyper-parameters, the tokenizer with some text.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "model/pack.h"
#include "model/source.h"
#include "model/tokenizer.h"

#define CHECK(x) ((x) ? (void)0 : abort())

#define CONFIG(type, heads)                                                       \
	"{\"model_type\":\"" type "\",\"num_hidden_layers\":1,\"hidden_size\":4," \
	"\"vocab_size\":3,\"intermediate_size\":4,\"num_attention_heads\":" heads "}"
#define TENSORS \
	"{\"model.embed_tokens.weight\":{\"dtype\":\"F16\",\"shape\":[3,4],\"data_offsets\":[0,24]}}"

/* What the other files belong to: families whose tensors are put together in other ways. */
static const char *const configs[] = {
	CONFIG("llama", "1"),
	CONFIG("gpt_neox", "2"),
	CONFIG("stablelm", "2"),
};

static const struct {
	uint64_t header;
	char rest[sizeof(TENSORS) - 1 + 24];
} __attribute__((packed)) tensors = { sizeof(TENSORS) - 1, TENSORS };

static const struct {
	const char *name;
	const void *data; /* NULL: there only where it is the input */
	size_t size;
} files[] = {
	{ "config.json", NULL, 0 },
	{ "model.safetensors", &tensors, sizeof(tensors) },
	{ "model.safetensors.index.json", NULL, 0 },
	{ "tokenizer.json", NULL, 0 },
	{ "tokenizer.model", NULL, 0 },
	{ "tokenizer_config.json", NULL, 0 },
	{ "vocab.txt", NULL, 0 },
	{ "special_tokens_map.json", NULL, 0 },
};

static char dir[64];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_dir(void)
{
	nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.40s/sherd-fuzz-XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(dir));
	atexit(remove_dir);
}

static void put(const char *name, const void *data, size_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!data) {
		unlink(path);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

/* A sum of all bytes: none may be outside of its file. */
static unsigned read_rows(const struct gguf *g)
{
	unsigned sum = 0;
	size_t i, k;

	for (i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];
		size_t bytes = gguf_row_bytes(t);
		uint64_t row, n = bytes ? t->size / bytes : 0;
		uint8_t *buf = malloc(bytes + 1);

		CHECK(buf);
		for (row = 0; row < n; row++) {
			const uint8_t *data = gguf_row(t, row, buf);

			for (k = 0; k < bytes; k++)
				sum += data[k];
		}
		free(buf);
	}
	return sum;
}

static void chew(const struct gguf *g)
{
	static const char text[] = "the <s> brown\n\n fox's 12 \xc3\xa9\xe4\xbd\xa0 \xff[CLS]";
	struct sherd_pack_params params = { 0 };
	struct sherd_pack_plan plan;
	struct sherd_tokenizer *tok;
	int32_t *ids;
	int n, i;

	CHECK(read_rows(g) < UINT32_MAX);
	sherd_pack_plan_make(&plan, g, &params, NULL);
	sherd_pack_plan_clear(&plan);
	if (sherd_tokenizer_from_gguf(&tok, g, NULL))
		return;
	if (!sherd_tokenize(tok, text, sizeof(text) - 1, SHERD_TOK_SPECIAL | SHERD_TOK_PARSE, &ids,
			    &n, NULL)) {
		for (i = 0; i < n; i++)
			CHECK(ids[i] >= 0 && ids[i] < sherd_tokenizer_n_vocab(tok));
		free(ids);
	}
	sherd_tokenizer_free(tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sherd_error err = { "" };
	struct gguf *g;
	const char *config;
	size_t i, which;

	if (!size)
		return 0;
	if (!*dir)
		make_dir();
	which = *data % ARRAY_SIZE(files);
	config = configs[*data / ARRAY_SIZE(files) % ARRAY_SIZE(configs)];
	for (i = 0; i < ARRAY_SIZE(files); i++)
		put(files[i].name, i == which ? data + 1 : files[i].data,
		    i == which ? size - 1 : files[i].size);
	if (which) /* config.json is the first */
		put(files[0].name, config, strlen(config));
	if (sherd_source_open(&g, dir, &err)) {
		CHECK(!g && *err.msg);
		return 0;
	}
	chew(g);
	gguf_close(g);
	return 0;
}
