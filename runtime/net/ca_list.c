/* SPDX-License-Identifier: MIT */
/*
 * ca_list: looks at an authority's folder. Files there that are no certificates are none of our
 * business.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/ca.h"
#include "net/pem.h"

static int read_entry(struct sherd_ca_entry *e, const char *dir, const char *file,
		      struct sherd_error *err)
{
	size_t stem = strlen(file) - strlen(".pem");
	char *path = sherd_asprintf("%s/%s", dir, file);
	char *key = sherd_asprintf("%s/%.*s-key.pem", dir, (int)stem, file);
	STACK_OF(X509) *certs = NULL;
	int rc;

	*e = (struct sherd_ca_entry){ 0 };
	if (!path || !key) {
		rc = sherd_fail_oom(err, strlen(dir), file);
		goto free_names;
	}
	rc = sherd_pem_read_certs(path, false, &certs, err);
	if (!rc)
		rc = sherd_cert_read(&e->cert, sk_X509_value(certs, 0), err);
	strcpy(e->file, file); /* its length has been looked at */
	e->has_key = !access(key, F_OK);
	sk_X509_pop_free(certs, X509_free);
free_names:
	free(path);
	free(key);
	return rc;
}

static int compare(const void *a, const void *b)
{
	const struct sherd_ca_entry *x = a, *y = b;

	if (x->cert.authority != y->cert.authority)
		return x->cert.authority ? -1 : 1;
	return strcmp(x->file, y->file);
}

int sherd_ca_list(const char *dir, struct sherd_ca_entry **list, int *n, struct sherd_error *err)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	int rc = 0;

	*list = NULL;
	*n = 0;
	if (!d)
		return sherd_fail(err, -errno, "%s: cannot open this folder: %s", dir,
				  strerror(errno));
	while (!rc && (entry = readdir(d))) {
		struct sherd_ca_entry *more;

		if (!sherd_ends_with(entry->d_name, ".pem") ||
		    sherd_ends_with(entry->d_name, "-key.pem") ||
		    strlen(entry->d_name) >= sizeof(more->file))
			continue;
		more = realloc(*list, (size_t)(*n + 1) * sizeof(*more));
		if (!more) {
			rc = sherd_fail_oom(err, sizeof(*more), dir);
			break;
		}
		*list = more;
		rc = read_entry(&more[(*n)++], dir, entry->d_name, err);
	}
	closedir(d);
	if (!rc && !*n)
		rc = sherd_fail(err, -ENOENT, "%s: there are no certificates in this folder; sherd "
				"cluster init -o %s makes some", dir, dir);
	if (rc) {
		free(*list);
		*list = NULL;
		*n = 0;
	} else {
		qsort(*list, (size_t)*n, sizeof(**list), compare);
	}
	return rc;
}
