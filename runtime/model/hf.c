/* SPDX-License-Identifier: MIT */
/* hf: opens a Hugging Face folder; see hf.h. */
#include "model/hf.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

char *hf_path(const struct hf *hf, const char *file)
{
	char *path = sherd_asprintf("%s/%s", hf->dir, file);

	if (!path)
		sherd_fail_oom(hf->err, strlen(hf->dir), "a path");
	return path;
}

bool hf_has(const struct hf *hf, const char *file)
{
	char *path = hf_path(hf, file);
	struct stat st;
	bool has = path && !stat(path, &st) && S_ISREG(st.st_mode);

	free(path);
	return has;
}

int hf_json(const struct hf *hf, const char *file, size_t limit, bool needed, json_t **j)
{
	char *path, *text;
	json_error_t why;
	size_t size;
	int ret;

	*j = NULL;
	if (!needed && !hf_has(hf, file))
		return 0;
	path = hf_path(hf, file);
	if (!path)
		return -ENOMEM;
	ret = sherd_read_file(path, limit, &text, &size, hf->err);
	if (!ret) {
		*j = json_loadb(text, size, JSON_ALLOW_NUL, &why);
		/* lengths of 10^30 mean that there is no limit; such a file has no ids in numbers */
		if (!*j && json_error_code(&why) == json_error_numeric_overflow)
			*j = json_loadb(text, size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
		free(text);
		if (!*j)
			ret = sherd_fail(hf->err, -EINVAL, "%s: is no JSON (line %d: %s)", path,
					 why.line, why.text);
	}
	free(path);
	return ret;
}

/* The metadata as an image that the GGUF reader parses: one parser, one set of checks. */
static int put_metadata(struct hf *hf, int fd)
{
	int ret;

	hf->w = gguf_writer_new(fd, hf->dir, 32);
	if (!hf->w)
		return sherd_fail_oom(hf->err, 4096, hf->dir);
	ret = hf_config_put(hf);
	if (!ret)
		ret = hf_tok_put(hf);
	if (!ret)
		ret = gguf_writer_header(hf->w, hf->err);
	gguf_writer_free(hf->w);
	return ret;
}

static int open_image(struct hf *hf, struct gguf **g)
{
	int fd = memfd_create("sherd-metadata", MFD_CLOEXEC), ret;

	if (fd < 0)
		return sherd_fail(hf->err, -errno, "no memory file can be had: %s",
				  strerror(errno));
	ret = put_metadata(hf, fd);
	if (!ret)
		return gguf_open_fd(g, fd, hf->dir, hf->err);
	close(fd);
	return ret;
}

static void clear(struct hf *hf)
{
	size_t i;

	for (i = 0; i < hf->n_files; i++)
		safetensors_close(&hf->files[i]);
	free(hf->files);
	free(hf->rope[0].data);
	free(hf->rope[1].data);
	json_decref(hf->stacks);
	json_decref(hf->root);
}

int sherd_hf_open(struct gguf **g, const char *dir, struct sherd_error *err)
{
	struct hf hf = { .dir = dir, .err = err };
	int ret = hf_config_load(&hf);

	*g = NULL;
	if (!ret)
		ret = hf_tensors_open(&hf);
	if (!ret)
		ret = open_image(&hf, g);
	if (!ret)
		ret = hf_tensors_map(&hf, *g);
	if (ret) {
		gguf_close(*g);
		*g = NULL;
	}
	clear(&hf);
	return ret;
}
