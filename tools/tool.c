/* SPDX-License-Identifier: MIT */
/*
 * tool: failure, notes, progress and input of all sub-commands. stdout carries results only;
 * whatever is for the person in front of the terminal goes to stderr, in one sentence that begins
 * with "sherd <sub-command>:".
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <jansson.h>
#include <utf8proc.h>
#include "net/message.h"
#include "tool.h"

#define TEXT_LIMIT ((size_t)1 << 30)

char *tool_harmless(const char *text)
{
	size_t n = strlen(text) + 1;
	char *shown = malloc(n);

	if (shown)
		sherd_sentence_read(shown, n, text, n - 1);
	return shown;
}

void tool_line(const char *sentence)
{
	char *shown = tool_harmless(sentence);

	fprintf(stderr, "sherd: %s\n", shown ? shown : "out of memory");
	free(shown);
}

static void say(const struct tool *t, const char *fmt, va_list ap)
{
	char *text = NULL, *shown = NULL;

	if (vasprintf(&text, fmt, ap) >= 0) {
		shown = tool_harmless(text);
		free(text);
	}
	tool_progress_end();
	fprintf(stderr, "sherd%s%s: %s", t ? " " : "", t ? t->name : "",
		shown ? shown : "out of memory");
	free(shown);
}

int tool_failf(const struct tool *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(t, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return TOOL_FAILED;
}

int tool_fail(const struct tool *t, const struct sherd_error *err)
{
	return tool_failf(t, "%s", err->msg);
}

int tool_usage(const struct tool *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(t, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (see sherd%s%s --help)\n", t ? " " : "", t ? t->name : "");
	return TOOL_USAGE;
}

int tool_refuse_idle(const struct tool *t, const struct tool_idle *list, size_t n, const char *fmt)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].given)
			return tool_usage(t, fmt, list[i].name);
	return TOOL_OK;
}

/* ------------------------------------------------------------- progress */

static struct {
	bool drawn;
	const char *what;
	double start, last;
} bar;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static void draw(const char *what, double share, double left)
{
	char cells[31];
	int full = (int)(share * 30);

	memset(cells, '.', 30);
	memset(cells, '#', full);
	cells[30] = '\0';
	fprintf(stderr, "\r\033[K%s [%s] %3d %%", what, cells, (int)(share * 100));
	if (left >= 3600)
		fprintf(stderr, ", %d h %02d min left", (int)left / 3600, (int)left / 60 % 60);
	else if (left >= 60)
		fprintf(stderr, ", %d min %02d s left", (int)left / 60, (int)left % 60);
	else if (left >= 0)
		fprintf(stderr, ", %d s left", (int)left);
}

void tool_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	double t = now(), share = 0, left = -1;

	(void)ctx;
	if (!isatty(STDERR_FILENO))
		return;
	if (!bar.what || strcmp(bar.what, what)) {
		bar.what = what;
		bar.start = t;
		bar.last = 0;
	}
	/* Work that takes no time needs no bar, and ten pictures a second are enough. */
	if (t - bar.start < 0.3 || t - bar.last < 0.1)
		return;
	bar.last = t;
	bar.drawn = true;
	if (!total) {
		fprintf(stderr, "\r\033[K%s: %llu", what, (unsigned long long)done);
		return;
	}
	if (done > total)
		done = total;
	share = (double)done / total;
	if (done && t - bar.start > 1)
		left = (t - bar.start) * (1 - share) / share;
	draw(what, share, left);
}

void tool_progress_end(void)
{
	if (bar.drawn)
		fputs("\r\033[K", stderr);
	bar.drawn = false;
	bar.what = NULL;
}

void tool_note(void *ctx, const char *sentence)
{
	(void)ctx;
	if (bar.drawn)
		fputs("\r\033[K", stderr);
	bar.drawn = false;
	tool_line(sentence);
}

/* ------------------------------------------------------ input and output */

static int read_fail(struct sherd_error *err, int code, const char *name, const char *why)
{
	if (err)
		snprintf(err->msg, sizeof(err->msg), "%s: %s", name, why);
	return code;
}

static int read_all(FILE *f, const char *name, char **text, size_t *len, struct sherd_error *err)
{
	size_t size = 0, used = 0;
	char *buf = NULL, *bigger;

	do {
		if (size - used < 2) {
			size = size ? size * 2 : 64 * 1024;
			bigger = size <= 2 * TEXT_LIMIT ? realloc(buf, size) : NULL;
			if (!bigger) {
				free(buf);
				return read_fail(err, -EFBIG, name,
						 "too much text to read at once");
			}
			buf = bigger;
		}
		used += fread(buf + used, 1, size - used - 1, f);
	} while (!feof(f) && !ferror(f));
	if (ferror(f)) {
		int code = errno ? errno : EIO;

		free(buf);
		return read_fail(err, -code, name, strerror(code));
	}
	buf[used] = '\0';
	*text = buf;
	*len = used;
	return 0;
}

int tool_pick(const struct tool *t, const char *opt, const char *value, const char *const *names,
	      int n, int *out)
{
	char list[256] = "";
	size_t len = 0;
	int i;

	for (i = 0; i < n; i++) {
		if (!strcmp(value, names[i])) {
			*out = i;
			return TOOL_OK;
		}
		if (len < sizeof(list))
			len += snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
					names[i]);
	}
	return tool_usage(t, "%s: '%s' is none of %s", opt, value, list);
}

static const char *const wires[] = { "int8", "f16", "f32" };

int tool_pick_wire(const struct tool *t, const char *value, enum sherd_wire *wire)
{
	int which = SHERD_WIRE_INT8;
	int rc = value ? tool_pick(t, "--wire", value, wires, 3, &which) : TOOL_OK;

	*wire = (enum sherd_wire)which;
	return rc;
}

const char *tool_wire_name(enum sherd_wire wire)
{
	return wires[wire];
}

int tool_refuse_encoder(const struct tool *t, const struct sherd_model_info *info)
{
	if (!info->encoder)
		return TOOL_OK;
	return tool_failf(t,
			  "%s: is an encoder (%s), which makes vectors of texts and writes none: sherd "
			  "embed -m MODEL -p TEXT",
			  info->path, info->arch);
}

int tool_want_tokenizer(const struct tool *t, const struct sherd_model *model)
{
	if (sherd_model_tokenizer(model))
		return TOOL_OK;
	return tool_failf(t,
			  "%s: has no tokenizer; a Hugging Face folder's is tokenizer.json, "
			  "tokenizer.model, vocab.json with merges.txt, or vocab.txt",
			  sherd_model_info(model)->path);
}

int tool_check_text(const char *name, const char *text, size_t len, struct sherd_error *err)
{
	const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text, *end = at + len;
	utf8proc_int32_t c;

	while (at < end) {
		utf8proc_ssize_t n = utf8proc_iterate(at, end - at, &c);

		if (n < 1) {
			if (err)
				snprintf(
					err->msg, sizeof(err->msg),
					"%s: byte %zu (0x%02x) is not valid UTF-8; convert the text "
					"first (iconv -t UTF-8)",
					name, (size_t)(at - (const utf8proc_uint8_t *)text), *at);
			return -EILSEQ;
		}
		at += n;
	}
	return 0;
}

int tool_read_text(const char *path, char **text, size_t *len, struct sherd_error *err)
{
	bool from_stdin = !strcmp(path, "-");
	const char *name = from_stdin ? "standard input" : path;
	FILE *f = from_stdin ? stdin : fopen(path, "rbe");
	int rc;

	if (!f)
		return read_fail(err, -errno, path, strerror(errno));
	rc = read_all(f, name, text, len, err);
	if (!from_stdin)
		fclose(f);
	if (rc)
		return rc;
	rc = tool_check_text(name, *text, *len, err);
	if (rc) {
		free(*text);
		*text = NULL;
	}
	return rc;
}

const char *tool_bytes(uint64_t bytes)
{
	static char ring[8][24];
	static int next;
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB" };
	char *s = ring[next++ % 8];
	double v = bytes / 1024.0;
	int u = 0;

	if (bytes < 1024) {
		snprintf(s, sizeof(ring[0]), "%d B", (int)bytes);
		return s;
	}
	while (v >= 1024 && u < 3) {
		v /= 1024;
		u++;
	}
	snprintf(s, sizeof(ring[0]), "%.*f %s", u < 2 ? 1 : 2, v, unit[u]);
	return s;
}

bool tool_flush(const struct tool *t)
{
	int code;

	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return true;
	code = errno;
	/* Whoever read the pipe has seen enough: that needs no words. */
	if (code != EPIPE)
		tool_failf(t, "the output could not be written: %s",
			   code ? strerror(code) : "write error");
	return false;
}

struct json_t *tool_json_path(const char *path)
{
	json_t *s = json_string(path);

	return s ? s : json_null();
}
