/* SPDX-License-Identifier: MIT */
/*
 * tok_pre: how a BPE model cuts text into words before it merges letters. Each model was trained
 * with its own regular expressions; the file only names them (tokenizer.ggml.pre), so they stand
 * here.
 *
 * PCRE2 matches them, with Unicode properties. Its \s is not Unicode's White_Space (it has U+180E
 * too), so white space is spelled out: WS inside a class, S and NS (not white) outside.
 * Case-blind contractions are spelled out as well, since case folding would let U+017F pass for
 * an s.
 */
#include <utf8proc.h>
#include "model/tok.h"

/* clang-format off: patterns in pieces that mean something */

#define WS "\\t-\\r\\x{85}\\p{Z}"
#define S  "[" WS "]"
#define NS "[^" WS "]"

/* The ends that most patterns share: space that is not the last before a word, then any space. */
#define SPACES	 S "+(?!" NS ")|" S "+"
#define NEWLINES S "*[\\r\\n]+|"
#define SYMBOLS	 " ?[^" WS "\\p{L}\\p{N}]+"

#define CONTRACTION "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
#define WORD	    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
/* Upper, then lower case: "HelloWorld" is two words. U and L are classes without brackets. */
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define CASED_WORD(U, L, TAIL)                            \
	"[^\\r\\n\\p{L}\\p{N}]?[" U "]*[" L "]+" TAIL "|" \
	"[^\\r\\n\\p{L}\\p{N}]?[" U "]+[" L "]*" TAIL "|"
/* The same without characters of the Han script: a class is negated to cut it with another. */
#define NOT_LETTER    "\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}"
#define UPPER_NOT_HAN "^\\p{Ll}" NOT_LETTER
#define LOWER_NOT_HAN "^\\p{Lu}\\p{Lt}" NOT_LETTER

#define GPT2   "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" SYMBOLS "|" SPACES
#define LLAMA3 CONTRACTION "|" WORD "\\p{N}{1,3}|" SYMBOLS "[\\r\\n]*|" NEWLINES SPACES
#define QWEN2  CONTRACTION "|" WORD "\\p{N}|" SYMBOLS "[\\r\\n]*|" NEWLINES SPACES
#define GPT4O                                            \
	CASED_WORD(UPPER, LOWER, "(?:" CONTRACTION ")?") \
	"\\p{N}{1,3}|" SYMBOLS "[\\r\\n/]*|" NEWLINES SPACES
#define TEKKEN	    CASED_WORD(UPPER, LOWER, "") "\\p{N}|" SYMBOLS "[\\r\\n/]*|" NEWLINES SPACES
#define ASCII_PUNCT "[!-/:-@\\[-`{-~]"
#define DEEPSEEK_WORDS                                                       \
	ASCII_PUNCT "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|" \
		    " ?[\\p{P}\\p{S}]+"
#define HAN_KANA "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]+"
#define BLOOM	 " ?[^(" WS "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
#define LINES	 "[^\\n]+|\\n+"

/* DeepSeek LLM's letters: those with case, as of its day. */
#define CASED                                                                                  \
	"A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"         \
	"\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}" \
	"\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"          \
	"\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"               \
	"\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"         \
	"\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"         \
	"\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}"         \
	"\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}" \
	"\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}"                   \
	"\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}"         \
	"\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}"  \
	"\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}"          \
	"\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}" \
	"\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}"          \
	"\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}"         \
	"\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"         \
	"\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}" \
	"\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

/* Not a pattern: runs of digits are cut in threes from the right. */
#define DIGITS_FROM_RIGHT "\\p{N}{3}$"

struct pre_row {
	const char *names; /* separated by spaces */
	unsigned flags;
	const char *stages[TOK_PRE_STAGES];
};

/* The first row is for files that name nothing, or something that is not here. */
static const struct pre_row pre_table[] = {
	{ "default", 0, { "[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
	{ "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
	  TOK_PRE_IGNORE_MERGES | TOK_PRE_ADD_BOS,
	  { LLAMA3 } },
	{ "dbrx smaug-bpe", 0, { LLAMA3 } },
	{ "chatglm-bpe", TOK_PRE_NO_BOS, { LLAMA3 } },
	{ "glm4 glm5", TOK_PRE_NO_BOS | TOK_PRE_IGNORE_MERGES, { LLAMA3 } },
	{ "gpt-2 phi-2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code roberta-bpe "
	  "gigachat a.x-4.0 mellum modern-bert exaone4 mpt olmo jais trillion granite-docling",
	  0,
	  { GPT2 } },
	{ "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
	  0,
	  { QWEN2 } },
	{ "qwen35",
	  0,
	  { CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|"
			" ?[^" WS "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" NEWLINES SPACES } },
	{ "ufakzeka", 0, { WORD "\\p{N}|" SYMBOLS "[\\r\\n]*|" NEWLINES SPACES } },
	{ "laguna", 0, { LINES, QWEN2 } },
	{ "minicpm5",
	  TOK_PRE_IGNORE_MERGES,
	  { "\\p{N}{1,3}", CONTRACTION "|" WORD "\\p{N}+|" SYMBOLS "[\\r\\n]*|" NEWLINES SPACES } },
	{ "jais-2",
	  0,
	  { CONTRACTION "|" WORD "\\p{N}{1,3}|" SYMBOLS "[\\r\\n]*|" NEWLINES S "{512}(?!" NS ")|" S
			"{256}(?!" NS ")|" S "{128}(?!" NS ")|" S "{64}(?!" NS ")|" S "{32}(?!" NS
			")|" S "{16}(?!" NS ")|" S "{8}(?!" NS ")|" S "{4}(?!" NS ")|" S
			"{1,2}(?!" NS ")|" S } },
	{ "deepseek-llm",
	  0,
	  { "[\\r\\n]", S "?[" CASED "]+",
	    S "?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}"
	      "\\x{3000}-\\x{3002}]+",
	    /* \s+$, from the start of a run only: no other start can do better */
	    "(?<!" S ")" S "++$", "[\\x{800}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+", "\\p{N}+" } },
	{ "deepseek-coder",
	  0,
	  { "[\\r\\n]", S "?\\p{L}+", S "?\\p{P}+", "[\\x{800}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+",
	    "\\p{N}" } },
	{ "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
	  0,
	  { "\\p{N}{1,3}", HAN_KANA, DEEPSEEK_WORDS "[\\r\\n]*|" NEWLINES SPACES } },
	{ "spark2_5",
	  0,
	  { "\\p{N}{1,3}", HAN_KANA, DEEPSEEK_WORDS "|[\\r\\n]|" SPACES, "\\p{N}" } },
	{ "afmoe",
	  0,
	  { DIGITS_FROM_RIGHT,
	    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{30ff}"
	    "\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{eff}\\x{1780}-\\x{17ff}"
	    "\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}"
	    "\\x{1100}-\\x{11ff}]+",
	    DEEPSEEK_WORDS "[\\r\\n]*|" NEWLINES SPACES } },
	{ "youtu",
	  TOK_PRE_IGNORE_MERGES,
	  { "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|"
	    "[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}"
	    "\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|" HAN_KANA,
	    CASED_WORD(UPPER, LOWER, "(?:" CONTRACTION ")?") "\\p{N}|" SYMBOLS
							     "[\\r\\n/]*|" NEWLINES SPACES } },
	{ "falcon", 0, { "[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]" } },
	{ "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
	  0,
	  { "\\p{N}", GPT2 } },
	{ "poro-chat bloom gpt3-finnish", 0, { BLOOM } },
	{ "viking", 0, { BLOOM, "\\p{N}" } },
	{ "tekken", TOK_PRE_IGNORE_MERGES | TOK_PRE_ADD_BOS, { TEKKEN } },
	{ "chameleon",
	  TOK_PRE_ADD_BOS,
	  { "<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}",
	    "[\\p{P}!-/:-@\\[-`{-~]", GPT2 } },
	{ "gpt-4o llama4 kanana2 talkie minimax-m2", 0, { GPT4O } },
	{ "granite-embed-multi-97m", TOK_PRE_IGNORE_MERGES, { GPT4O } },
	{ "tiny_aya cohere2moe", TOK_PRE_WHOLE_NUMBERS, { DIGITS_FROM_RIGHT, GPT4O } },
	{ "kimi-k2",
	  TOK_PRE_NO_MERGES,
	  { "\\p{sc:Han}+|" CASED_WORD(UPPER_NOT_HAN, LOWER_NOT_HAN,
				       "(?:" CONTRACTION ")?") "\\p{N}{1,3}|" SYMBOLS
							       "[\\r\\n]*|" NEWLINES SPACES } },
	{ "superbpe", TOK_PRE_LOOSE_NUMBERS, { "\\p{N}+", DIGITS_FROM_RIGHT } },
	{ "bailingmoe bailingmoe2 llada-moe",
	  0,
	  { CONTRACTION "|" WORD "\\p{N}|" SYMBOLS "[\\r\\n]*|" S "*[\\r\\n]|" SPACES } },
	{ "seed-coder",
	  0,
	  { CONTRACTION "|" WORD "\\p{N}| ?[^" WS "\\p{L}\\p{N}\\r\\n]+|" NEWLINES SPACES } },
	{ "exaone-moe",
	  0,
	  { CONTRACTION
	    "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|" SYMBOLS
	    "[\\r\\n/]?|" S "*[\\r\\n]|" SPACES } },
	{ "gemma4 granite-embed-multi-311m",
	  TOK_PRE_RAW | TOK_PRE_NEWLINES | TOK_PRE_ADD_BOS,
	  { LINES } },
	{ "sarvam-moe", TOK_PRE_RAW | TOK_PRE_NEWLINES, { LINES } },
	/* no GGUF's: SentencePiece's BPE in a tokenizer.json (hf_tok_pre.c), all in one or by word */
	{ "spm-merges", TOK_PRE_RAW, { NULL } },
	{ "spm-merges-words", TOK_PRE_RAW, { "\\x{2581}?[^\\x{2581}]+|\\x{2581}" } },
};

/* clang-format on */

static bool has_name(const char *names, struct gguf_str name)
{
	while (*names) {
		size_t n = strcspn(names, " ");

		if (n == name.len && !memcmp(names, name.data, n))
			return true;
		names += n + (names[n] == ' ');
	}
	return false;
}

static int compile(pcre2_code **code, const char *pattern, struct sherd_error *err)
{
	uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_UTF_CHECK;
	PCRE2_SIZE at;
	int code_err;

	*code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code_err, &at,
			      NULL);
	if (!*code) {
		PCRE2_UCHAR why[128] = "";

		pcre2_get_error_message(code_err, why, sizeof(why));
		return sherd_fail(err, -EINVAL, "a pre-tokenizer's pattern, at %zu: %s", (size_t)at,
				  (const char *)why);
	}
	/* Without a JIT compiler for this machine the interpreter does it. */
	pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
	return 0;
}

int tok_pre_init(struct tok_pre *p, struct gguf_str name, struct sherd_error *err)
{
	const struct pre_row *row = pre_table;

	p->known = !name.len;
	for (size_t i = 0; i < ARRAY_SIZE(pre_table) && !p->known; i++) {
		p->known = has_name(pre_table[i].names, name);
		if (p->known)
			row = &pre_table[i];
	}
	p->flags = row->flags;
	for (int i = 0; i < TOK_PRE_STAGES && row->stages[i]; i++) {
		int ret = 0;

		if (strcmp(row->stages[i], DIGITS_FROM_RIGHT))
			ret = compile(&p->stages[i], row->stages[i], err);
		if (ret)
			return ret;
		p->n_stages = i + 1;
	}
	return 0;
}

void tok_pre_free(struct tok_pre *p)
{
	for (int i = 0; i < p->n_stages; i++)
		pcre2_code_free(p->stages[i]);
}

/* The ends that a stage finds; a vector in one of the work's two buffers. */
struct cuts {
	struct tok_work *w;
	struct tok_buf *buf;
	size_t n, last;
};

static int cut_at(struct cuts *c, size_t end)
{
	size_t *ends;

	if (end <= c->last)
		return 0;
	ends = tok_buf_reserve(c->buf, c->n + 1, sizeof(*ends), c->w->err);
	if (!ends)
		return -ENOMEM;
	ends[c->n++] = c->last = end;
	return 0;
}

static int find_match(struct tok_work *w, const pcre2_code *code, const char *text, size_t len,
		      size_t at, size_t *start, size_t *end)
{
	const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(w->match);
	int ret = pcre2_match(code, (PCRE2_SPTR)text, len, at, PCRE2_NO_UTF_CHECK, w->match,
			      w->match_ctx);

	if (ret == PCRE2_ERROR_JIT_STACKLIMIT)
		ret = pcre2_match(code, (PCRE2_SPTR)text, len, at,
				  PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match, w->match_ctx);
	if (ret == PCRE2_ERROR_NOMATCH)
		return 0;
	if (ret < 0)
		return sherd_fail(w->err, -E2BIG,
				  "a word of the text is too long for the tokenizer's patterns "
				  "(PCRE2 error %d): put spaces into it",
				  ret);
	*start = ov[0];
	*end = ov[1];
	return *end > *start; /* no pattern of the table matches nothing */
}

/* Cuts text [a, b) at the matches of @code. What lies outside of the part is not seen by it. */
static int cut_by_pattern(struct cuts *c, const pcre2_code *code, const char *text, size_t a,
			  size_t b)
{
	size_t at = 0, start = 0, end = 0;
	int ret;

	while (at < b - a && (ret = find_match(c->w, code, text + a, b - a, at, &start, &end))) {
		if (ret < 0 || cut_at(c, a + start) || cut_at(c, a + end))
			return ret < 0 ? ret : -ENOMEM;
		at = end;
	}
	return cut_at(c, b);
}

/* Bytes of the character at @at, and its category. */
static size_t next_char(const char *text, size_t at, size_t end, utf8proc_category_t *cat)
{
	utf8proc_int32_t c;
	utf8proc_ssize_t n = utf8proc_iterate((const uint8_t *)text + at, (ssize_t)(end - at), &c);

	*cat = n > 0 ? utf8proc_category(c) : UTF8PROC_CATEGORY_CN;
	return n > 0 ? (size_t)n : 1;
}

/* Letters, marks, numbers and connectors: between two of them there is no end of a word. */
static bool is_word_char(utf8proc_category_t cat)
{
	return cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_PC;
}

/* Runs of digits in threes; what is left over goes first. */
static int cut_digits(struct cuts *c, const char *text, size_t a, size_t b, unsigned flags)
{
	utf8proc_category_t cat = UTF8PROC_CATEGORY_CN;
	bool apart = !(flags & TOK_PRE_LOOSE_NUMBERS);
	size_t at = a, i, step, n;

	while (at < b) {
		for (i = at, n = 0; i < b; i += step, n++) {
			step = next_char(text, i, b, &cat);
			if (cat != UTF8PROC_CATEGORY_ND)
				break;
		}
		if (!n || ((flags & TOK_PRE_WHOLE_NUMBERS) && i < b && is_word_char(cat))) {
			at = n ? i : at + next_char(text, at, b, &cat);
			continue;
		}
		if (apart && cut_at(c, at))
			return -ENOMEM;
		for (; n; n--) {
			at += next_char(text, at, b, &cat);
			if (n % 3 == 1 && (n > 1 || apart) && cut_at(c, at))
				return -ENOMEM;
		}
	}
	return cut_at(c, b);
}

int tok_pre_split(struct tok_work *w, size_t len, const size_t **ends, size_t *n)
{
	const struct tok_pre *p = &w->t->pre;
	struct cuts from = { w, &w->cuts[1], 0, 0 }, to = { w, &w->cuts[0], 0, 0 }, tmp;

	if (cut_at(&from, len))
		return -ENOMEM;
	for (int s = 0; s < p->n_stages; s++) {
		const char *text = w->text.data;
		size_t a = 0;

		to.n = to.last = 0;
		for (size_t i = 0; i < from.n; i++) {
			size_t b = ((const size_t *)from.buf->data)[i];
			int ret = p->stages[s] ? cut_by_pattern(&to, p->stages[s], text, a, b)
					       : cut_digits(&to, text, a, b, p->flags);

			if (ret)
				return ret;
			a = b;
		}
		tmp = from;
		from = to;
		to = tmp;
	}
	*ends = from.buf->data;
	*n = from.n;
	return 0;
}
