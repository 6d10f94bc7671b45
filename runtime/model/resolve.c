/* SPDX-License-Identifier: MIT */
/*
 * resolve: what a person calls a model, to the file or Hugging Face folder that it means. A path
 * always wins; then the caches of Hugging Face and Ollama are looked through. Nothing is downloaded. Names and the files
 * of those caches are checked letter by letter before they become parts of a path: none leads out
 * of its folder.
 */
#include <ctype.h>
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include "base/trace.h"
#include "model/shard.h"

#define MAX_MANIFEST   (1u << 20)
#define OLLAMA_MODEL   "application/vnd.ollama.image.model"
#define OLLAMA_ADAPTER "application/vnd.ollama.image.adapter"

/* Where a name was looked for, for the sentence on failure. */
struct places {
	char text[320];
	size_t len;
};

static void note_place(struct places *p, const char *path)
{
	int n = snprintf(p->text + p->len, sizeof(p->text) - p->len, "%s%s", p->len ? ", " : "",
			 path);

	if (n > 0)
		p->len = MIN(p->len + (size_t)n, sizeof(p->text) - 1);
}

static bool is_dir(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static bool is_file(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode);
}

/* One component of a path that is nothing but a name: no separator, not hidden, not "..". */
static bool is_plain_name(const char *s, size_t len)
{
	size_t i;

	if (!len || len > 128 || s[0] == '.')
		return false;
	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i]))
			return false;
	return true;
}

/* 0 means "look further" where several places are gone through, so success becomes 1. */
static int found(int ret)
{
	return ret ? ret : 1;
}

static char *env_path(const char *variable, const char *below)
{
	const char *v = getenv(variable);

	return v && *v ? sherd_asprintf("%s%s", v, below) : NULL;
}

/* ------------------------------------------------------------- folders */

static bool has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n > m && !strcasecmp(s + n - m, suffix);
}

/* "mmproj" files are the eyes of a model, not the model. */
static int is_model_entry(const struct dirent *d)
{
	return has_suffix(d->d_name, ".gguf") && strncmp(d->d_name, "mmproj", 6);
}

static int is_visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void free_entries(struct dirent **entries, int n)
{
	while (n > 0)
		free(entries[--n]);
	free(entries);
}

static int refuse_several(const char *dir, struct dirent **entries, int n, struct sherd_error *err)
{
	struct places list = { .len = 0 };
	int i;

	for (i = 0; i < n; i++)
		note_place(&list, entries[i]->d_name);
	return sherd_fail(err, -EINVAL, "%s: holds %d models, name one: %s", dir, n, list.text);
}

/* "NAME-00001-of-00003.gguf" and its like, sorted: one model in several files. */
static bool is_split(struct dirent **entries, int n)
{
	const char *first = entries[0]->d_name, *of = strstr(first, "-of-");
	size_t stem = of && of - first > 6 ? (size_t)(of - first) - 5 : 0;
	int i;

	for (i = 0; i < n && stem; i++) {
		const char *name = entries[i]->d_name;

		if (strlen(name) != strlen(first) || strncmp(name, first, stem) ||
		    strcmp(name + stem + 5, of))
			return false;
	}
	return stem != 0;
}

/* A Hugging Face folder is a model itself; the reader of it will tell what is missing. */
static int take_folder(const char *dir, char **path, struct sherd_error *err)
{
	char *config = sherd_asprintf("%s/config.json", dir);
	int ret = 0;

	if (!config)
		return sherd_fail_oom(err, strlen(dir), dir);
	if (!is_file(config))
		ret = sherd_fail(err, -ENOENT,
				 "%s: the folder holds no .gguf file, and no config.json beside "
				 "safetensors",
				 dir);
	else if (!(*path = strdup(dir)))
		ret = sherd_fail_oom(err, strlen(dir), dir);
	free(config);
	return ret;
}

/* The one .gguf file in @dir, or the first part of it; without one, @dir itself. */
static int one_model(const char *dir, char **path, struct sherd_error *err)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_model_entry, alphasort);
	int ret = 0;

	if (n < 0)
		return sherd_fail(err, -errno, "%s: cannot list the folder: %s", dir,
				  strerror(errno));
	if (n == 1 || (n && is_split(entries, n))) {
		*path = sherd_asprintf("%s/%s", dir, entries[0]->d_name);
		if (!*path)
			ret = sherd_fail_oom(err, strlen(dir), dir);
		else if (!is_file(*path))
			ret = sherd_fail(err, -ENOENT, "%s: is not a file, or its blob is missing",
					 *path);
		if (ret) {
			free(*path);
			*path = NULL;
		}
	} else if (n) {
		ret = refuse_several(dir, entries, n, err);
	} else {
		ret = take_folder(dir, path, err);
	}
	free_entries(entries, n);
	return ret;
}

/* The folder of the commit that refs/main names; NULL if there is none. */
static char *main_snapshot(const char *repo)
{
	char *ref_path = sherd_asprintf("%s/refs/main", repo), *ref = NULL, *dir = NULL;
	size_t len;

	if (ref_path && !sherd_read_file(ref_path, 256, &ref, &len, NULL)) {
		while (len && isspace((unsigned char)ref[len - 1]))
			len--;
		if (is_plain_name(ref, len))
			dir = sherd_asprintf("%s/snapshots/%.*s", repo, (int)len, ref);
	}
	if (dir && !is_dir(dir)) {
		free(dir);
		dir = NULL;
	}
	free(ref);
	free(ref_path);
	return dir;
}

/* Without refs/main, a single snapshot will do. */
static char *only_snapshot(const char *snapshots)
{
	struct dirent **entries;
	int n = scandir(snapshots, &entries, is_visible, alphasort);
	char *dir = NULL;

	if (n < 0)
		return NULL;
	if (n == 1)
		dir = sherd_asprintf("%s/%s", snapshots, entries[0]->d_name);
	free_entries(entries, n);
	return dir;
}

static int resolve_folder(const char *dir, char **path, struct sherd_error *err)
{
	char *snapshots = sherd_asprintf("%s/snapshots", dir), *snapshot;
	int ret;

	if (!snapshots)
		return sherd_fail_oom(err, strlen(dir), dir);
	if (!is_dir(snapshots)) {
		ret = one_model(dir, path, err);
		goto free_snapshots;
	}
	snapshot = main_snapshot(dir);
	if (!snapshot)
		snapshot = only_snapshot(snapshots);
	if (snapshot)
		ret = one_model(snapshot, path, err);
	else
		ret = sherd_fail(err, -EINVAL,
				 "%s: refs/main names no snapshot, and there is not "
				 "exactly one: name the folder of the one that you mean",
				 snapshots);
	free(snapshot);

free_snapshots:
	free(snapshots);
	return ret;
}

/* -------------------------------------------------------- Hugging Face */

/* The cache of @i-th choice, in the order in which Hugging Face's own library looks; NULL: none. */
static char *hub_dir(int i)
{
	switch (i) {
	case 0:
		return env_path("HF_HUB_CACHE", "");
	case 1:
		return env_path("HF_HOME", "/hub");
	case 2:
		return env_path("XDG_CACHE_HOME", "/huggingface/hub");
	default:
		return env_path("HOME", "/.cache/huggingface/hub");
	}
}

/* "org/name": 1 resolved, 0 not there, negative: there, but unusable. */
static int resolve_hub(const char *name, char **path, struct places *places,
		       struct sherd_error *err)
{
	const char *slash = strchr(name, '/');
	char *hub, *repo;
	int i, ret = 0;

	if (!slash || !is_plain_name(name, (size_t)(slash - name)) ||
	    !is_plain_name(slash + 1, strlen(slash + 1)))
		return 0;
	for (i = 0; i < 4 && !ret; i++) {
		hub = hub_dir(i);
		if (!hub)
			continue;
		repo = sherd_asprintf("%s/models--%.*s--%s", hub, (int)(slash - name), name,
				      slash + 1);
		note_place(places, hub);
		if (!repo)
			ret = sherd_fail_oom(err, strlen(hub), name);
		else if (is_dir(repo))
			ret = found(resolve_folder(repo, path, err));
		free(repo);
		free(hub);
	}
	return ret;
}

/* -------------------------------------------------------------- Ollama */

static char *ollama_dir(int i)
{
	switch (i) {
	case 0:
		return env_path("OLLAMA_MODELS", "");
	case 1:
		return env_path("HOME", "/.ollama/models");
	default: /* its system service's home */
		return strdup("/usr/share/ollama/.ollama/models");
	}
}

/* "sha256:<64 hex digits>" and nothing else: it becomes a file's name. */
static bool is_digest(const char *s)
{
	return s && !strncmp(s, "sha256:", 7) && strlen(s) == 71 &&
	       strspn(s + 7, "0123456789abcdef") == 64;
}

static const char *layer_type(const json_t *layer)
{
	const char *type = json_string_value(json_object_get(layer, "mediaType"));

	return type ? type : "";
}

/* The blob that a manifest names as the model. */
static int read_manifest(const json_t *manifest, const char *name, const char *models, char **path,
			 struct sherd_error *err)
{
	const json_t *layers = json_object_get(manifest, "layers"), *layer;
	const char *digest = NULL;
	size_t i;

	for (i = 0; i < json_array_size(layers); i++) {
		layer = json_array_get(layers, i);
		if (!strcmp(layer_type(layer), OLLAMA_ADAPTER))
			return sherd_fail(err, -ENOTSUP,
					  "%s: is a model with an adapter, which sherd cannot add",
					  name);
		if (!strcmp(layer_type(layer), OLLAMA_MODEL) && !digest)
			digest = json_string_value(json_object_get(layer, "digest"));
	}
	if (!is_digest(digest))
		return sherd_fail(err, -EINVAL, "%s: the manifest names no model by its SHA-256",
				  name);
	*path = sherd_asprintf("%s/blobs/sha256-%s", models, digest + 7);
	if (!*path)
		return sherd_fail_oom(err, strlen(models), name);
	if (is_file(*path))
		return 0;
	sherd_fail(err, -ENOENT, "%s: its file %s is missing: pull the model again", name, *path);
	free(*path);
	*path = NULL;
	return -ENOENT;
}

static int resolve_manifest(const char *file, const char *models, char **path,
			    struct sherd_error *err)
{
	json_error_t why;
	json_t *json;
	size_t size;
	char *text;
	int ret = sherd_read_file(file, MAX_MANIFEST, &text, &size, err);

	if (ret)
		return ret;
	json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
	free(text);
	if (!json)
		return sherd_fail(err, -EINVAL, "%s: is no JSON (line %d: %s)", file, why.line,
				  why.text);
	ret = read_manifest(json, file, models, path, err);
	json_decref(json);
	return ret;
}

/* "name", "name:tag", "user/name:tag" to "user/name/tag" in @out; false: no such name. */
static bool ollama_name(const char *name, char *out, size_t size)
{
	const char *slash = strchr(name, '/'), *model = slash ? slash + 1 : name;
	const char *colon = strchr(model, ':'), *tag = colon ? colon + 1 : "latest";
	size_t user_len = slash ? (size_t)(slash - name) : 0;
	size_t model_len = colon ? (size_t)(colon - model) : strlen(model);

	if ((slash && !is_plain_name(name, user_len)) || !is_plain_name(model, model_len) ||
	    !is_plain_name(tag, strlen(tag)))
		return false;
	return snprintf(out, size, "%.*s/%.*s/%s", slash ? (int)user_len : 7,
			slash ? name : "library", (int)model_len, model, tag) < (int)size;
}

static int resolve_ollama(const char *name, char **path, struct places *places,
			  struct sherd_error *err)
{
	char *models, *file, below[400];
	int i, ret = 0;

	if (!ollama_name(name, below, sizeof(below)))
		return 0;
	for (i = 0; i < 3 && !ret; i++) {
		models = ollama_dir(i);
		if (!models)
			continue;
		file = sherd_asprintf("%s/manifests/registry.ollama.ai/%s", models, below);
		note_place(places, models);
		if (!file)
			ret = sherd_fail_oom(err, strlen(models), name);
		else if (is_file(file))
			ret = found(resolve_manifest(file, models, path, err));
		free(file);
		free(models);
	}
	return ret;
}

/* A file of a Hugging Face folder stands for the folder, even where that has GGUF files too. */
static bool names_folder(const char *name)
{
	const char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name;

	return !strcmp(file, "config.json") || !strcmp(file, "model.safetensors.index.json") ||
	       has_suffix(file, ".safetensors");
}

static char *folder_of(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? strndup(name, (size_t)MAX(slash - name, 1)) : strdup(".");
}

int sherd_resolve_model(const char *name, char **path, struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("resolve", name);
	struct places places = { .len = 0 };
	struct stat st;
	int ret;

	*path = NULL;
	if (!name || !*name)
		return sherd_fail(err, -EINVAL, "no model is named");
	if (is_dir(name))
		return resolve_folder(name, path, err);
	if (!stat(name, &st)) { /* whatever it is, opening it will tell */
		*path = names_folder(name) ? folder_of(name) : strdup(name);
		return *path ? 0 : sherd_fail_oom(err, strlen(name), name);
	}
	ret = resolve_hub(name, path, &places, err);
	if (!ret)
		ret = resolve_ollama(name, path, &places, err);
	if (ret)
		return ret < 0 ? ret : 0;
	if (!places.len)
		return sherd_fail(err, -ENOENT, "%s: there is no such file", name);
	return sherd_fail(err, -ENOENT, "%s: no file of this name, and no model in %s", name,
			  places.text);
}
