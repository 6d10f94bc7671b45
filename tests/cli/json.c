/* SPDX-License-Identifier: MIT */
/*
 * json: checks that standard input is one JSON value and nothing else, and prints what stands at a
 * path in it: `json tensors.0.name`. For the shell tests of --json, where jq may be missing.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const json_t *step(const json_t *j, const char *key)
{
	return json_is_array(j) ? json_array_get(j, strtoul(key, NULL, 10)) :
				  json_object_get(j, key);
}

int main(int argc, char **argv)
{
	json_error_t error;
	json_t *root = json_loadf(stdin, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	const json_t *j = root;
	char *key;

	if (!root) {
		fprintf(stderr, "no JSON: line %d: %s\n", error.line, error.text);
		return 1;
	}
	for (key = argc > 1 ? strtok(argv[1], ".") : NULL; key && j; key = strtok(NULL, "."))
		j = step(j, key);
	if (!j) {
		fprintf(stderr, "nothing there\n");
		json_decref(root);
		return 1;
	}
	if (argc > 1) {
		char *text = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT);

		puts(json_is_string(j) ? json_string_value(j) : text);
		free(text);
	}
	json_decref(root);
	return 0;
}
