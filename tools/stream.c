/* SPDX-License-Identifier: MIT */
/*
 * stream: see stream.h. Stop strings are looked for in the bytes as the model gave them; what goes
 * out is valid UTF-8: a byte that begins no character becomes U+FFFD.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "stream.h"

/*
 * The character at @p of @n bytes: its length; 0 if it may be complete when more bytes come; -1 if
 * no character begins so (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 */
static int char_length(const unsigned char *p, size_t n)
{
	unsigned char lo = 0x80, hi = 0xBF;
	int len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xC2 || p[0] > 0xF4)
		return -1;
	len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
	if (p[0] == 0xE0)
		lo = 0xA0;
	if (p[0] == 0xED)
		hi = 0x9F;
	if (p[0] == 0xF0)
		lo = 0x90;
	if (p[0] == 0xF4)
		hi = 0x8F;
	for (int i = 1; i < len; i++, lo = 0x80, hi = 0xBF) {
		if ((size_t)i == n)
			return 0;
		if (p[i] < lo || p[i] > hi)
			return -1;
	}
	return len;
}

static void keep_bytes(struct stream *s, const char *p, size_t n)
{
	char *bigger = s->kept;

	if (s->n_kept + n > s->room_kept) {
		bigger = realloc(s->kept, (s->n_kept + n) * 2);
		if (!bigger) {
			s->failed = ENOMEM;
			return;
		}
		s->kept = bigger;
		s->room_kept = (s->n_kept + n) * 2;
	}
	memcpy(s->kept + s->n_kept, p, n);
	s->n_kept += n;
}

static void write_bytes(struct stream *s, const char *p, size_t n)
{
	if (!n || s->failed)
		return;
	if (s->keep)
		keep_bytes(s, p, n);
	errno = 0;
	if (fwrite(p, 1, n, s->out) != n)
		s->failed = errno ? errno : EIO;
	s->last = p[n - 1];
}

/* Writes the complete characters of the first @n held bytes, and forgets them. */
static void release(struct stream *s, size_t n)
{
	size_t done = 0, clean = 0; /* clean: where the run of good bytes begins */

	while (done < n) {
		int len = char_length((unsigned char *)s->held + done, n - done);

		if (len == 0)
			break;
		if (len > 0) {
			done += len;
			continue;
		}
		write_bytes(s, s->held + clean, done - clean);
		write_bytes(s, "\xEF\xBF\xBD", 3);
		clean = ++done;
	}
	write_bytes(s, s->held + clean, done - clean);
	memmove(s->held, s->held + done, s->n_held - done);
	s->n_held -= done;
	errno = 0;
	if (!s->failed && fflush(s->out))
		s->failed = errno ? errno : EIO;
}

/*
 * Where the stop string begins that is complete first (of those, the longest); n_held: there is
 * none. So the result does not depend on how the text came in pieces.
 */
static size_t find_stop(const struct stream *s)
{
	size_t begin = s->n_held, end = SIZE_MAX;

	for (int i = 0; i < s->stops->n; i++) {
		size_t len = strlen(s->stops->v[i]);
		const char *hit = memmem(s->held, s->n_held, s->stops->v[i], len);
		size_t at = hit ? (size_t)(hit - s->held) : 0;

		if (hit && (at + len < end || (at + len == end && at < begin))) {
			begin = at;
			end = at + len;
		}
	}
	return begin;
}

/* How many bytes at the end may be the beginning of a stop string. */
static size_t stop_prefix(const struct stream *s)
{
	size_t longest = 0;

	for (int i = 0; i < s->stops->n; i++) {
		size_t n = strlen(s->stops->v[i]) - 1;

		if (n > s->n_held)
			n = s->n_held;
		while (n > longest && memcmp(s->held + s->n_held - n, s->stops->v[i], n))
			n--;
		if (n > longest)
			longest = n;
	}
	return longest;
}

bool stream_put(struct stream *s, const char *bytes, size_t n)
{
	size_t stop;

	if (s->stopped || s->failed)
		return false;
	if (!n)
		return true;
	if (s->n_held + n > s->room) {
		char *bigger = realloc(s->held, (s->n_held + n) * 2);

		if (!bigger) {
			s->failed = ENOMEM;
			return false;
		}
		s->held = bigger;
		s->room = (s->n_held + n) * 2;
	}
	memcpy(s->held + s->n_held, bytes, n);
	s->n_held += n;
	stop = find_stop(s);
	if (stop < s->n_held) {
		s->n_held = stop;
		s->stopped = true;
		return false;
	}
	release(s, s->n_held - stop_prefix(s));
	return !s->failed;
}

bool stream_end(struct stream *s)
{
	if (s->n_held)
		release(s, s->n_held);
	/* What is left is a character that never became whole. */
	if (s->n_held)
		write_bytes(s, "\xEF\xBF\xBD", 3);
	s->n_held = 0;
	errno = 0;
	if (!s->failed && fflush(s->out))
		s->failed = errno ? errno : EIO;
	free(s->held);
	s->held = NULL;
	s->room = 0;
	return !s->failed;
}
