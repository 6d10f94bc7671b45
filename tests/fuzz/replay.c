/* SPDX-License-Identifier: MIT */
/*
 * replay: feeds a fuzz target every file under the folders on the command line, in order of name.
 * With it the corpus is a test that any compiler builds; libFuzzer is for finding new files.
 */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int n_files;

static int replay(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	FILE *f;
	uint8_t *data;
	size_t size;

	(void)ftw;
	if (kind != FTW_F)
		return 0;
	f = fopen(path, "rb");
	/* Exactly as many bytes as the file has, so that reading one more is seen. */
	data = malloc(st->st_size ? st->st_size : 1);
	if (!f || !data) {
		perror(path);
		exit(1);
	}
	size = fread(data, 1, st->st_size, f);
	fclose(f);
	data = realloc(data, size ? size : 1);
	fprintf(stderr, "%s: %zu bytes\n", path, size);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	n_files++;
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		nftw(argv[i], replay, 16, FTW_PHYS);
	/* An empty corpus would pass whatever the target does. */
	if (!n_files) {
		fprintf(stderr, "no files to replay\n");
		return 1;
	}
	printf("1..1\nok 1 - %d files are taken or refused without a crash\n", n_files);
	return 0;
}
