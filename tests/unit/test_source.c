/* SPDX-License-Identifier: MIT */
/*
 * test_source: models in several GGUF files, and Hugging Face folders that are broken in every way
 * that a reader has to notice. What whole folders compute is tests/golden/test_hf.c's.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "model/pack.h"
#include "model/source.h"
#include "scratch.h"

#define WHOLE "tests/golden/qwen2-f32.gguf"

static struct sherd_error err;

static struct gguf *opened(const char *path)
{
	struct gguf *g;

	if (sherd_source_open(&g, path, &err))
		fail_msg("%s", err.msg);
	return g;
}

/* Refused with a sentence that has @words. */
static void refused(const char *name, const char *words)
{
	char *path = in_dir(name);
	struct gguf *g = (struct gguf *)1;

	err.msg[0] = '\0';
	assert_true(sherd_source_open(&g, path, &err) < 0);
	assert_null(g);
	if (!strstr(err.msg, words))
		fail_msg("\"%s\" should have \"%s\"", err.msg, words);
	free(path);
}

/* ------------------------------------------------------------------ split files */

struct part {
	uint32_t no, count, tensors;
};

/* Writes the tensors of @g from @first to @end, with the metadata in part 0. */
static void write_part(const struct gguf *g, const char *name, const struct part *p, size_t first,
		       size_t end)
{
	char *path = in_dir(name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct gguf_writer *w = gguf_writer_new(fd, name, 32);
	char key[128];
	size_t i;

	for (i = 0; i < g->n_values && !p->no; i++) {
		snprintf(key, sizeof(key), "%.*s", (int)g->values[i].key.len,
			 g->values[i].key.data);
		if (strcmp(key, "general.alignment"))
			gguf_put_value(w, key, &g->values[i]);
	}
	gguf_put_u32(w, "split.no", p->no);
	gguf_put_u32(w, "split.count", p->count);
	gguf_put_u32(w, "split.tensors.count", p->tensors);
	for (i = first; i < end; i++) {
		snprintf(key, sizeof(key), "%.*s", (int)g->tensors[i].name.len,
			 g->tensors[i].name.data);
		gguf_put_tensor(w, key, g->tensors[i].type, g->tensors[i].n_dims,
				g->tensors[i].dims);
	}
	assert_int_equal(gguf_writer_header(w, &err), 0);
	for (i = first; i < end; i++)
		assert_int_equal(gguf_writer_data(w, g->tensors[i].data, g->tensors[i].size, &err),
				 0);
	assert_int_equal(gguf_writer_finish(w, &err), 0);
	gguf_writer_free(w);
	close(fd);
	free(path);
}

/* Three files of one model below @stem; the last but one without tensors. */
static void write_split(const char *stem)
{
	struct gguf *g = opened(WHOLE);
	uint32_t n = (uint32_t)g->n_tensors, no;
	const size_t cuts[] = { 0, 3, 3, n };
	char name[128];

	for (no = 0; no < 3; no++) {
		struct part p = { no, 3, n };

		snprintf(name, sizeof(name), "%s-%05u-of-00003.gguf", stem, no + 1);
		write_part(g, name, &p, cuts[no], cuts[no + 1]);
	}
	gguf_close(g);
}

static void hash_of(const char *path, char hash[SHERD_SHA256_HEX])
{
	const atomic_bool never = false;
	struct gguf *g = opened(path);

	if (sherd_pack_hash(g, &never, hash, &err))
		fail_msg("%s", err.msg);
	gguf_close(g);
}

static void any_part_of_a_split_model_is_the_whole_model(void **state)
{
	char whole[SHERD_SHA256_HEX], split[SHERD_SHA256_HEX], name[64], *path;
	int no;

	(void)state;
	write_split("m");
	hash_of(WHOLE, whole);
	for (no = 1; no <= 3; no++) {
		snprintf(name, sizeof(name), "m-%05d-of-00003.gguf", no);
		path = in_dir(name);
		hash_of(path, split);
		assert_string_equal(whole, split);
		free(path);
	}
}

static void a_folder_of_parts_is_one_model(void **state)
{
	char *folder = in_dir("parts"), *path, *want;

	(void)state;
	mkdir(folder, 0700);
	write_split("parts/m");
	assert_int_equal(sherd_resolve_model(folder, &path, &err), 0);
	want = in_dir("parts/m-00001-of-00003.gguf");
	assert_string_equal(path, want);
	free(path);
	write_file("parts/n-00001-of-00003.gguf", "x");
	assert_true(sherd_resolve_model(folder, &path, &err) < 0);
	assert_non_null(strstr(err.msg, "holds 4 models"));
	free(want);
	free(folder);
}

static void missing_and_foreign_parts_are_refused(void **state)
{
	struct gguf *g = opened(WHOLE);
	struct part p = { 1, 3, (uint32_t)g->n_tensors };
	char *second = in_dir("b-00002-of-00003.gguf"), *odd;

	(void)state;
	write_split("b");
	unlink(second);
	refused("b-00001-of-00003.gguf", "b-00002-of-00003.gguf: is missing: the model is split");
	refused("b-00003-of-00003.gguf", "b-00002-of-00003.gguf: is missing");
	p.count = 4;
	write_part(g, "b-00002-of-00003.gguf", &p, 3, 3);
	refused("b-00001-of-00003.gguf", "should be part 2 of 3, but says that it is part 2 of 4");
	p = (struct part){ 2, 3, p.tensors };
	write_part(g, "b-00002-of-00003.gguf", &p, 3, 3);
	refused("b-00001-of-00003.gguf", "but says that it is part 3 of 3");
	p.no = 1;
	write_part(g, "b-00002-of-00003.gguf", &p, 3, 4); /* a tensor that the third has too */
	refused("b-00001-of-00003.gguf", "tensors, but they have");
	p.no = 3;
	write_part(g, "b-00002-of-00003.gguf", &p, 3, 3);
	refused("b-00002-of-00003.gguf", "part 3 (from 0) of 3");
	odd = in_dir("odd.gguf");
	p.no = 0;
	write_part(g, "odd.gguf", &p, 0, 3);
	refused("odd.gguf", "only by a name that ends in -00001-of-00003.gguf");
	gguf_close(g);
	free(odd);
	free(second);
}

static void a_tensor_in_two_parts_is_refused(void **state)
{
	struct gguf *g = opened(WHOLE);
	struct part p = { 1, 2, (uint32_t)g->n_tensors + 1 };

	(void)state;
	write_part(g, "t-00002-of-00002.gguf", &p, 4, g->n_tensors);
	p.no = 0;
	write_part(g, "t-00001-of-00002.gguf", &p, 0, 5);
	refused("t-00002-of-00002.gguf", "is there twice");
	gguf_close(g);
}

static void a_model_is_another_one_when_any_of_its_files_changes(void **state)
{
	char *part = in_dir("id-00001-of-00003.gguf"), *third = in_dir("id-00003-of-00003.gguf");
	char *folder = in_dir("idf"), *a, *b;

	(void)state;
	write_split("id");
	a = sherd_source_identity(part, &err);
	b = sherd_source_identity(part, &err);
	assert_string_equal(a, b);
	free(b);
	assert_int_equal(truncate(third, 100), 0);
	b = sherd_source_identity(part, &err);
	assert_string_not_equal(a, b);
	free(a);
	free(b);
	write_file("idf/config.json", "{}");
	write_file("idf/tokenizer.json", "{}");
	a = sherd_source_identity(folder, &err);
	write_file("idf/tokenizer.json", "{ }");
	b = sherd_source_identity(folder, &err);
	assert_string_not_equal(a, b);
	free(a);
	write_file("idf/1_Pooling/config.json", "{}");
	a = sherd_source_identity(folder, &err);
	assert_string_not_equal(a, b);
	free(a);
	free(b);
	free(folder);
	free(third);
	free(part);
}

/* --------------------------------------------------------- Hugging Face folders */

#define CONFIG                                                                                \
	"\"num_hidden_layers\":1,\"hidden_size\":4,\"intermediate_size\":4,\"vocab_size\":2," \
	"\"num_attention_heads\":1"
#define LLAMA "{\"model_type\":\"llama\"," CONFIG "}"

/* A safetensors file of this header and @n bytes of zeros. */
static void write_tensors(const char *name, const char *header, size_t n)
{
	uint64_t size = strlen(header);
	char *path = in_dir(name), *zeros = calloc(n + 1, 1);
	FILE *f;

	write_file(name, ""); /* makes the folder */
	f = fopen(path, "w");
	assert_non_null(f);
	fwrite(&size, 8, 1, f);
	fwrite(header, 1, size, f);
	fwrite(zeros, 1, n, f);
	assert_int_equal(fclose(f), 0);
	free(zeros);
	free(path);
}

/* A llama folder of one layer, all 32 wide and zero, in F16 but for k. */
static void write_llama32(const char *folder, const char *k_type, unsigned k_size)
{
	static const char *const names[] = {
		"embed_tokens",
		"norm",
		"layers.0.input_layernorm",
		"layers.0.self_attn.q_proj",
		"layers.0.self_attn.k_proj",
		"layers.0.self_attn.v_proj",
		"layers.0.self_attn.o_proj",
		"layers.0.post_attention_layernorm",
		"layers.0.mlp.gate_proj",
		"layers.0.mlp.up_proj",
		"layers.0.mlp.down_proj",
	};
	char header[4096] = "{", *name = sherd_asprintf("%s/model.safetensors", folder);
	char *config = sherd_asprintf("%s/config.json", folder);
	unsigned at = 0, end, n = 1;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++, at = end) {
		bool vector = strstr(names[i], "norm"), k = strstr(names[i], "k_proj");

		end = at + (vector ? 32 : 32 * 32) * (k ? k_size : 2);
		n += (unsigned)snprintf(
			header + n, sizeof(header) - n,
			"%s\"model.%s.weight\":{\"dtype\":\"%s\",\"shape\":[32%s],\"data_offsets\":"
			"[%u,%u]}",
			i ? "," : "", names[i], k ? k_type : "F16", vector ? "" : ",32", at, end);
	}
	strcpy(header + n, "}");
	write_tensors(name, header, at);
	write_file(config, "{\"model_type\":\"llama\",\"num_hidden_layers\":1,\"hidden_size\":32,"
			   "\"intermediate_size\":32,\"vocab_size\":32,\"num_attention_heads\":1}");
	free(config);
	free(name);
}

static void parts_of_several_types_are_rounded_to_one_matrix(void **state)
{
	const struct sherd_pack_params p = { .bits = 8 };
	char *folder = in_dir("mixed");
	struct sherd_shard *s;
	struct gguf *g;
	int fd = memfd_create("shard", 0);

	(void)state;
	write_llama32("mixed", "F32", 4);
	g = opened(folder);
	if (sherd_pack(g, fd, "shard", &p, NULL, &err) ||
	    sherd_shard_open_fd(&s, fd, "shard", &err))
		fail_msg("%s", err.msg);
	assert_non_null(sherd_shard_matrix(s, SHERD_ATTN_QKV, 0));
	sherd_shard_close(s);
	gguf_close(g);
	close(fd);
	free(folder);
}

static void headers_that_lie_are_refused(void **state)
{
#define T(shape, type, from, to)                                          \
	"{\"model.norm.weight\":{\"dtype\":\"" type "\",\"shape\":" shape \
	",\"data_offsets\":[" #from "," #to "]}}"
	static const struct {
		const char *header, *words;
	} bad[] = {
		{ T("[4]", "F32", 0, 17), "ends at byte 17" },
		{ T("[4]", "F32", 0, 12), "has 12 bytes where its shape calls for 16 of F32" },
		{ T("[4]", "F32", 8, 4), "no range" },
		{ T("[-4]", "F32", 0, 16), "shape that cannot be" },
		{ T("[4294967296,4294967296]", "F32", 0, 16), "shape that cannot be" },
		{ T("[4]", "F64", 0, 16),
		  "of type F64; of safetensors sherd reads F32, F16 and BF16" },
		{ T("[]", "F32", 0, 0), "has 0 bytes" },
		{ "{\"a\":1}", "has no dtype" },
		{ "{\"a\":", "no JSON" },
		{ "[]", "lists no tensors" },
		{ "{\"a\":{},\"a\":{}}", "no JSON" },
		{ "{\"a\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},"
		  "\"b\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[4,12]}}",
		  "overlap" },
		{ "{\"model.what.weight\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]}}",
		  "model.what.weight is no part of a llama model" },
	};
	size_t i;

	(void)state;
	write_file("lies/config.json", LLAMA);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		write_tensors("lies/model.safetensors", bad[i].header, 16);
		refused("lies", bad[i].words);
	}
	write_file("lies/model.safetensors", "version https://git-lfs.github.com/spec/v1\n");
	refused("lies", "Git LFS");
	write_file("lies/model.safetensors", "x");
	refused("lies", "1 bytes are no safetensors file");
}

static void indexes_that_lie_are_refused(void **state)
{
	static const char index[] = "ix/model.safetensors.index.json";

	(void)state;
	write_file("ix/config.json", LLAMA);
	write_file(index, "{}");
	refused("ix", "no weight_map");
	write_file(index, "{\"weight_map\":{\"model.norm.weight\":\"../a.safetensors\"}}");
	refused("ix", "which cannot be");
	write_file(index, "{\"weight_map\":{\"model.norm.weight\":7}}");
	refused("ix", "has no file for");
	write_file(index, "{\"weight_map\":{\"model.norm.weight\":\"a.safetensors\"}}");
	refused("ix", "one of the files that the index lists is missing: ");
	write_tensors("ix/a.safetensors", "{}", 0);
	refused("ix", "is not in a.safetensors");
}

static void configs_that_sherd_cannot_follow_are_refused(void **state)
{
	static const struct {
		const char *config, *words;
	} bad[] = {
		{ "{}", "type \"\" is not supported; these are: llama, mistral" },
		{ "{\"model_type\":\"mamba\"}", "type \"mamba\" is not supported" },
		{ "{\"model_type\":\"llama\"}", "lacks num_hidden_layers" },
		{ "{\"model_type\":\"llama\",\"hidden_act\":\"gelu\"," CONFIG "}", "\"gelu\"" },
		{ "{\"model_type\":\"llama\",\"rope_theta\":\"x\"," CONFIG "}", "no number" },
		{ "{\"model_type\":\"llama\",\"head_dim\":1e99," CONFIG "}", "head_dim is no" },
		{ "{\"model_type\":\"qwen2\",\"use_sliding_window\":true," CONFIG "}",
		  "use_sliding_window is true" },
		{ "{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"gptq\"}," CONFIG
		  "}",
		  "\"gptq\"" },
		{ "{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\"}," CONFIG
		  "}",
		  "RoPE scaling cannot be" },
		{ "{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"longrope\",\"long_factor\":"
		  "[0,1]}," CONFIG "}",
		  "RoPE scaling cannot be" },
		{ "{\"model_type\":\"falcon\",\"alibi\":true," CONFIG "}", "alibi is true" },
		{ "{\"model_type\":\"falcon\",\"parallel_attn\":false," CONFIG "}",
		  "parallel_attn is false" },
		{ "{\"model_type\":\"phi\",\"qk_layernorm\":true," CONFIG "}",
		  "qk_layernorm is true" },
		{ "{\"model_type\":\"smollm3\",\"no_rope_layers\":[0]," CONFIG "}",
		  "layers without rotation are others than every 4th" },
		{ "nonsense", "config.json: is no JSON" },
	};
	size_t i;

	(void)state;
	write_tensors("cfg/model.safetensors", "{}", 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		write_file("cfg/config.json", bad[i].config);
		refused("cfg", bad[i].words);
	}
	write_file("none/config.json", LLAMA);
	refused("none", "has neither model.safetensors nor");
}

static struct sherd_hparams hparams_of(const char *config)
{
	char *path = in_dir("numbers");
	struct sherd_hparams hp;
	struct gguf *g;

	write_file("numbers/config.json", config);
	write_tensors("numbers/model.safetensors",
		      "{\"model.embed_tokens.weight\":{\"dtype\":\"F16\",\"shape\":[2,4],"
		      "\"data_offsets\":[0,16]}}",
		      16);
	g = opened(path);
	if (sherd_hparams_read(&hp, g, &err))
		fail_msg("%s", err.msg);
	gguf_close(g);
	free(path);
	return hp;
}

/* transformers 4 and 5 write the same numbers, each in its own place. */
static void rope_is_found_where_either_transformers_has_it(void **state)
{
#define GEMMA \
	"{\"model_type\":\"gemma3_text\",\"sliding_window\":8,\"num_key_value_heads\":1," CONFIG
	static const char *const configs[] = {
		GEMMA ",\"rope_theta\":5000,\"rope_local_base_freq\":300,\"rope_scaling\":"
		      "{\"rope_type\":\"linear\",\"factor\":8}}",
		GEMMA
		",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8,"
		"\"rope_theta\":5000},\"sliding_attention\":{\"rope_type\":\"default\","
		"\"rope_theta\":300}}}",
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(configs); i++) {
		struct sherd_hparams hp = hparams_of(configs[i]);

		assert_true(hp.rope_theta == 5000 && hp.rope_other_theta == 300);
		assert_true(hp.rope_scaling == SHERD_ROPE_LINEAR && hp.rope_factor == 8);
	}
}

static void longrope_is_known_by_its_first_name_and_may_bring_its_factor(void **state)
{
	struct sherd_hparams hp = hparams_of(
		"{\"model_type\":\"phi3\",\"original_max_position_embeddings\":1024,\"rope_scaling\":"
		"{\"type\":\"su\",\"attention_factor\":1.25,\"long_factor\":[1,2],\"short_factor\":"
		"[1,1]}," CONFIG "}");

	(void)state;
	assert_true(hp.rope_scaling == SHERD_ROPE_LONG && hp.rope_ctx == 1024);
	assert_true(hp.rope_attn_factor == 1.25f);
}

static void encoders_that_pool_in_another_way_are_refused(void **state)
{
	char *modules = in_dir("enc/modules.json");

	(void)state;
	write_file("enc/config.json", "{\"model_type\":\"bert\"," CONFIG "}");
	write_tensors("enc/model.safetensors", "{}", 0);
	write_file("enc/1_Pooling/config.json", "{\"pooling_mode_max_tokens\":true}");
	refused("enc", "pooling_mode_max_tokens is true");
	write_file("enc/1_Pooling/config.json",
		   "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":true}");
	refused("enc", "pooling_mode_mean_tokens is true");
	write_file("enc/1_Pooling/config.json", "{\"pooling_mode_cls_token\":true}");
	write_file("enc/modules.json", "[{\"type\":\"sentence_transformers.models.Pooling\"},"
				       "{\"type\":\"sentence_transformers.models.Dense\"}]");
	refused("enc", "models.Dense");
	unlink(modules);
	free(modules);
}

#define FRAME(post)                                                                \
	"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}," \
	"\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"post_processor\":" post "}"
#define TEMPLATE(single) "{\"type\":\"TemplateProcessing\",\"single\":[" single "]}"
#define TOKEN(id)	 "{\"SpecialToken\":{\"id\":\"" id "\"}}"
#define TEXT		 "{\"Sequence\":{\"id\":\"A\"}}"

static void tokenizers_that_sherd_does_not_know_are_refused(void **state)
{
	static const struct {
		const char *file, *text, *words;
	} bad[] = {
		{ "tokenizer.json", "{}", "the model \"\" is none" },
		{ "tokenizer.json", "{\"model\":{\"type\":\"WordLevel\"}}", "\"WordLevel\"" },
		{ "tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":7}}", "no vocabulary" },
		{ "tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1}}}",
		  "id that cannot be" },
		{ "tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999}}}",
		  "id that cannot be" },
		{ "tokenizer.json",
		  "{\"model\":{\"type\":\"BPE\",\"vocab\":{}},\"pre_tokenizer\":{\"type\":\"Split\","
		  "\"pattern\":{\"Regex\":\"x+\"},\"behavior\":\"Isolated\"}}",
		  "(split:x+)" },
		{ "tokenizer.json",
		  "{\"model\":{\"type\":\"BPE\",\"vocab\":{}},\"normalizer\":{\"type\":\"Lowercase\"}}",
		  "\"Lowercase\"" },
		{ "tokenizer.json",
		  "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[[\"a\"]]}}", "no pair" },
		{ "tokenizer.json", "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}",
		  "no pair of text and score" },
		/* ids far beyond what is listed would take memory for nothing */
		{ "tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":70000}}}",
		  "its files list 1 tokens" },
		{ "tokenizer.json", FRAME("{\"type\":\"Weird\"}"), "post-processor \"Weird\"" },
		{ "tokenizer.json", FRAME(TEMPLATE(TOKEN("z") "," TEXT)), "the token \"z\"" },
		{ "tokenizer.json", FRAME(TEMPLATE(TOKEN("a") "," TOKEN("b") "," TEXT)),
		  "more around" },
		{ "tokenizer.json", FRAME(TEMPLATE(TEXT "," TOKEN("a") "," TEXT)), "more around" },
		{ "tokenizer.json", FRAME(TEMPLATE(TEXT "," TOKEN("a") "," TOKEN("b"))),
		  "more around" },
		{ "tokenizer.json", FRAME(TEMPLATE(TOKEN("a"))), "more around" },
		{ "tokenizer.json",
		  FRAME("{\"type\":\"Sequence\",\"processors\":["
			"{\"type\":\"ByteLevel\"}," TEMPLATE(TEXT) "," TEMPLATE(TEXT) "]}"),
		  "post-processor \"TemplateProcessing\"" },
		/* some other list of that name: tokenizer.json counts */
		{ "tokenizer.model", "x", "the model \"\" is none" },
		{ "tokenizer.model", "", "the model \"\" is none" },
		{ "tokenizer.model", "\x0a\x7f", "no SentencePiece model" },
		/* a piece, and a trainer's spec that says words */
		{ "tokenizer.model", "\x0a\x03\x0a\x01x\x12\x02\x18\x03", "words or characters" },
		{ "tokenizer.model", "\x0a\x03\x0a\x01x\x12\x02\x18\x02", "normalizes its text" },
	};
	size_t i;

	(void)state;
	write_file("tok/config.json", LLAMA);
	write_tensors("tok/model.safetensors", "{}", 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		char *path;

		write_file("tok/tokenizer.json", "{}");
		path = in_dir("tok/tokenizer.model");
		unlink(path);
		free(path);
		path = sherd_asprintf("tok/%s", bad[i].file);
		write_file(path, bad[i].text);
		free(path);
		refused("tok", bad[i].words);
	}
}

/* Rows that no token is listed for get names, but not any number of them. */
static void an_embedding_of_other_tokens_is_refused(void **state)
{
	static const char header[] = "{\"model.embed_tokens.weight\":{\"dtype\":\"F16\","
				     "\"shape\":[70000,1],\"data_offsets\":[0,140000]}}";

	(void)state;
	write_file("rows/config.json", LLAMA);
	write_file("rows/tokenizer.json", FRAME("null"));
	write_tensors("rows/model.safetensors", header, 140000);
	refused("rows", "embedding has 70000 rows, but the tokenizer's files list 2 tokens");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_part_of_a_split_model_is_the_whole_model),
		cmocka_unit_test(a_folder_of_parts_is_one_model),
		cmocka_unit_test(missing_and_foreign_parts_are_refused),
		cmocka_unit_test(a_tensor_in_two_parts_is_refused),
		cmocka_unit_test(a_model_is_another_one_when_any_of_its_files_changes),
		cmocka_unit_test(parts_of_several_types_are_rounded_to_one_matrix),
		cmocka_unit_test(headers_that_lie_are_refused),
		cmocka_unit_test(indexes_that_lie_are_refused),
		cmocka_unit_test(configs_that_sherd_cannot_follow_are_refused),
		cmocka_unit_test(rope_is_found_where_either_transformers_has_it),
		cmocka_unit_test(longrope_is_known_by_its_first_name_and_may_bring_its_factor),
		cmocka_unit_test(encoders_that_pool_in_another_way_are_refused),
		cmocka_unit_test(tokenizers_that_sherd_does_not_know_are_refused),
		cmocka_unit_test(an_embedding_of_other_tokens_is_refused),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
