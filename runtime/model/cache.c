/* SPDX-License-Identifier: MIT */
/*
 * cache: from a model's path to an open shard. A model is packed once; afterwards its shard is
 * found under a key made of everything that would change it: the source's identity, bits,
 * layers, layout version. Processes that want the same shard at once wait for the first one to pack
 * it. Where the cache can't be used the shard goes into memory, and a note says why.
 */
#include "model/cache.h"
#include "model/pack.h"
#include "model/source.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct want {
	const char *source;
	const struct sherd_pack_params *p;
	char *dir;		    /* NULL: no cache */
	char *shard;		    /* path in the cache */
	char key[SHERD_SHA256_HEX]; /* shortened to SHERD_CACHE_KEY digits */
};

static void note(const struct want *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(const struct want *w, const char *fmt, ...)
{
	char sentence[768];
	va_list ap;

	if (!w->p->note)
		return;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	w->p->note(w->p->ctx, sentence);
}

static int make_key(struct want *w, struct sherd_error *err)
{
	char *source = sherd_source_identity(w->source, err), *text;

	if (!source)
		return -ENOENT;
	text = sherd_asprintf("%s bits %d layers %d-%d layout %d whole hash", source, w->p->bits,
			      w->p->first_layer, w->p->end_layer, SHERD_LAYOUT_VERSION);
	free(source);
	if (!text)
		return sherd_fail_oom(err, 4096, "a cache key");
	sherd_sha256(text, strlen(text), w->key);
	w->key[SHERD_CACHE_KEY] = '\0';
	free(text);
	return 0;
}

/*
 * Opens the cached shard and holds a shared lock on it as long as it is mapped. -ENOENT: there is
 * none; another error: it is of no use.
 */
static int open_cached(const struct want *w, struct sherd_shard **s, struct sherd_error *err)
{
	int fd = open(w->shard, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct gguf *g;
	struct stat st;
	int ret;

	if (fd < 0)
		return -errno;
	/* whoever evicts holds the lock for a moment; what was unlinked under us stays readable */
	if (flock(fd, LOCK_SH) || fstat(fd, &st)) {
		ret = sherd_fail(err, -errno, "%s: %s", w->shard, strerror(errno));
		close(fd);
		return ret;
	}
	futimens(fd, NULL); /* used now; if that fails it is evicted a little early */
	ret = gguf_open_fd(&g, fd, w->shard, err);
	return ret ? ret : sherd_shard_from_gguf(s, g, st.st_uid == geteuid(), err);
}

/* One sentence: what became of which types, what that lost, and what it takes. */
static void say_packed(const struct want *w, const struct sherd_pack_report *r)
{
	size_t n, i, len = 0;
	struct sherd_pack_kind *kinds = sherd_pack_kinds(r, &n);
	char list[384] = "";

	for (i = 0; kinds && i < n && len < sizeof(list); i++) {
		const struct sherd_pack_kind *k = &kinds[i];

		len += snprintf(list + len, sizeof(list) - len, "%s%s -> %s ", i ? ", " : "",
				k->from, k->to);
		if (len >= sizeof(list))
			break;
		if (k->worst->rel_rms == 0)
			len += snprintf(list + len, sizeof(list) - len, "exact");
		else
			len += snprintf(list + len, sizeof(list) - len,
					"with a relative error of %.4f", k->mean);
	}
	if (kinds)
		note(w, "packed: %s; %.1f MiB became %.1f MiB%s", list,
		     (double)r->bytes_in * 0x1p-20, (double)r->bytes_out * 0x1p-20,
		     r->could_be_less ? " (--bits 4 takes less, and loses some)" : "");
	free(kinds);
}

static int pack_to(const struct want *w, const struct gguf *g, int fd, const char *name,
		   struct sherd_error *err)
{
	struct sherd_pack_report report;
	int ret = sherd_pack(g, fd, name, w->p, &report, err);

	if (ret)
		return ret;
	say_packed(w, &report);
	free(report.loss);
	return 0;
}

static int pack_file(const struct want *w, const struct gguf *g, struct sherd_error *err)
{
	struct sherd_outfile out;
	int ret = sherd_outfile_open(&out, w->shard, err);

	if (ret)
		return ret;
	ret = pack_to(w, g, out.fd, w->shard, err);
	if (!ret)
		return sherd_outfile_commit(&out, err);
	sherd_outfile_abort(&out);
	return ret;
}

/* Whether @ret says that the model itself can't be packed, wherever to. */
static bool is_final(int ret)
{
	return ret == -EINVAL || ret == -ENOMEM || ret == -EINTR;
}

/* With the key's lock held. 1: not in the cache, and a note has said why. */
static int fill(const struct want *w, const struct gguf *g, struct sherd_shard **s,
		struct sherd_error *err)
{
	struct sherd_error why = { "" };
	uint64_t bytes, limit;
	int ret = open_cached(w, s, &why);

	if (!ret)
		return 0; /* somebody packed it while we waited */
	if (ret != -ENOENT) {
		note(w, "packing again, since the cached shard is of no use: %s", why.msg);
		unlink(w->shard);
	}
	ret = sherd_pack_size(g, w->p, &bytes, err);
	if (ret)
		return ret;
	if (!sherd_cache_make_room(w->dir, w->key, bytes, &limit)) {
		note(w, "the cache %s has no room for a shard of %llu MiB (its limit is %llu MiB)",
		     w->dir, (unsigned long long)(bytes >> 20), (unsigned long long)(limit >> 20));
		return 1;
	}
	ret = pack_file(w, g, &why);
	if (!ret)
		ret = open_cached(w, s, &why);
	if (!ret)
		return 0;
	if (is_final(ret)) {
		if (err)
			*err = why;
		return ret;
	}
	note(w, "the cache can't be used: %s", why.msg);
	return 1;
}

static int from_cache(const struct want *w, const struct gguf *g, struct sherd_shard **s,
		      struct sherd_error *err)
{
	int lock, ret;

	lock = sherd_cache_lock(w->dir, w->key, w->p->note, w->p->ctx,
				"another process is packing this model; waiting for it");
	if (lock == -EINTR)
		return sherd_fail(err, -EINTR, "%s: interrupted while another process packed it",
				  w->source);
	if (lock < 0) {
		note(w, "the cache %s can't be used: %s", w->dir, strerror(-lock));
		return 1;
	}
	ret = fill(w, g, s, err);
	sherd_cache_unlock(w->dir, w->key, lock);
	return ret;
}

static int into_memory(const struct want *w, const struct gguf *g, struct sherd_shard **s,
		       struct sherd_error *err)
{
	uint64_t bytes, have = sherd_memory_available();
	int fd, ret = sherd_pack_size(g, w->p, &bytes, err);

	if (ret)
		return ret;
	if (bytes > have)
		return sherd_fail(
			err, -ENOMEM,
			"%s: its shard takes %llu MiB, and there is neither room for it in "
			"a cache nor in memory (%llu MiB free); pack it to a disk that has: "
			"sherd pack",
			w->source, (unsigned long long)(bytes >> 20),
			(unsigned long long)(have >> 20));
	note(w, "packing %s into memory: %llu MiB, for this process only", w->source,
	     (unsigned long long)(bytes >> 20));
	fd = memfd_create("sherd-shard", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return sherd_fail(err, -errno, "no memory file can be had: %s", strerror(errno));
	ret = pack_to(w, g, fd, w->source, err);
	if (ret) {
		close(fd);
		return ret;
	}
	/* a file that can't shrink is one whose pages may be pinned */
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	return sherd_shard_open_fd(s, fd, w->source, err);
}

static int pack_somewhere(const struct want *w, struct gguf *g, struct sherd_shard **s,
			  bool *in_memory, struct sherd_error *err)
{
	int ret = w->dir ? from_cache(w, g, s, err) : 1;

	if (ret == 1) {
		*in_memory = true;
		ret = into_memory(w, g, s, err);
	}
	gguf_close(g);
	return ret;
}

static int prepare(struct want *w, bool no_cache, struct sherd_error *err)
{
	int ret;

	if (no_cache)
		return 0;
	ret = make_key(w, err);
	if (ret)
		return ret;
	w->dir = sherd_cache_shards();
	if (!w->dir) {
		note(w, "there is no cache: neither XDG_CACHE_HOME nor HOME names a folder that "
			"can be "
			"written");
		return 0;
	}
	w->shard = sherd_asprintf("%s/%s.shard", w->dir, w->key);
	return w->shard ? 0 : sherd_fail_oom(err, strlen(w->dir), "a path");
}

int sherd_shard_get(struct sherd_shard **s, const char *path, const struct sherd_pack_params *p,
		    bool no_cache, bool *in_memory, struct sherd_error *err)
{
	struct want w = { .source = path, .p = p };
	struct gguf *g;
	int ret;

	*in_memory = false;
	ret = prepare(&w, no_cache, err);
	if (ret)
		goto out;
	/* the usual case reads nothing of the source; a broken shard is fill()'s to judge */
	if (w.dir && !open_cached(&w, s, NULL))
		goto out;
	ret = sherd_source_open(&g, path, err);
	if (ret)
		goto out;
	if (sherd_is_shard(g))
		ret = sherd_shard_from_gguf(s, g, false, err);
	else
		ret = pack_somewhere(&w, g, s, in_memory, err);
out:
	free(w.dir);
	free(w.shard);
	return ret;
}

/* Of the source's tensors, as the shard that was packed of it says; "": there is none. */
static void peek_cached(const struct want *w, struct sherd_shard_name *n)
{
	if (!w->shard || sherd_shard_peek(w->shard, n, NULL))
		*n = (struct sherd_shard_name){ 0 };
}

static int hash_source(const char *path, uint64_t limit, char hash[SHERD_SHA256_HEX],
		       struct sherd_error *err)
{
	const atomic_bool never = false;
	struct sherd_shard_name n;
	struct gguf *g;
	int ret = sherd_source_open(&g, path, err);

	if (ret)
		return ret;
	if (sherd_is_shard(g)) {
		ret = sherd_shard_peek(path, &n, err);
		memcpy(hash, n.source_sha256, sizeof(n.source_sha256));
	} else if (gguf_file_bytes(g) > limit) {
		ret = -ENOENT;
	} else {
		ret = sherd_pack_hash(g, &never, hash, err);
	}
	gguf_close(g);
	return ret;
}

int sherd_model_hash(const char *path, const struct sherd_pack_params *p, uint64_t limit,
		     char hash[SHERD_SHA256_HEX], struct sherd_error *err)
{
	struct want w = { .source = path, .p = p };
	struct sherd_shard_name n = { 0 };
	int ret = prepare(&w, false, err);

	if (!ret)
		peek_cached(&w, &n);
	if (!ret && n.source_sha256[0])
		memcpy(hash, n.source_sha256, sizeof(n.source_sha256));
	else if (!ret)
		ret = hash_source(path, limit, hash, err);
	free(w.dir);
	free(w.shard);
	return ret;
}
