/* SPDX-License-Identifier: MIT */
/*
 * dial: from an address to a connection. A number is no matter; a name is looked up by a thread of
 * its own, since getaddrinfo() waits for servers, for half a minute if they are gone. The thread
 * outlives whoever asked, should that be so: then nobody is told. Of a name's addresses one after
 * the other is tried, in the time that there is for all of them.
 */
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/io.h"

struct sherd_lookup {
	pthread_mutex_t lock;
	struct sherd_io_loop *loop; /* NULL: nobody waits */
	struct sherd_conn *conn;
	int n; /* addresses, or -errno */
	struct sockaddr_storage to[SHERD_MAX_ADDRESSES];
	struct sherd_error err;
	char host[256], port[8];
};

static void free_lookup(struct sherd_lookup *k)
{
	/* Whoever had it last may be letting go of it just now. */
	pthread_mutex_lock(&k->lock);
	pthread_mutex_unlock(&k->lock);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static void found(void *arg)
{
	struct sherd_lookup *k = arg;
	struct sherd_conn *c = k->conn;

	if (c) {
		c->lookup = NULL;
		if (k->n < 0) {
			sherd_conn_failf(c, "%s: %s", c->link.address, k->err.msg);
		} else {
			memcpy(c->to, k->to, sizeof(c->to));
			c->n_to = k->n;
			c->state = SHERD_CONN_CONNECT;
			sherd_conn_mark(c);
		}
	}
	free_lookup(k);
}

static void *look_up(void *arg)
{
	struct sherd_lookup *k = arg;
	bool posted = false;

	k->n = sherd_address_find(k->host, k->port, 0, k->to, &k->err);
	pthread_mutex_lock(&k->lock);
	/* The loop is there as long as the lock is held: who forgets the lookup waits for it. */
	if (k->loop)
		posted = !sherd_loop_post(&k->loop->pub, found, k);
	pthread_mutex_unlock(&k->lock);
	if (!posted)
		free_lookup(k);
	return NULL;
}

void sherd_dial_forget(struct sherd_conn *c)
{
	struct sherd_lookup *k = c->lookup;

	if (!k)
		return;
	c->lookup = NULL;
	pthread_mutex_lock(&k->lock);
	k->conn = NULL;
	k->loop = NULL;
	pthread_mutex_unlock(&k->lock);
}

static int start_lookup(struct sherd_conn *c, const char *host, const char *port,
			struct sherd_error *err)
{
	struct sherd_lookup *k = sherd_calloc(1, sizeof(*k));
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	if (!k)
		return sherd_fail_oom(err, sizeof(*k), "a host's name");
	pthread_mutex_init(&k->lock, NULL);
	k->loop = c->sock.loop;
	k->conn = c;
	snprintf(k->host, sizeof(k->host), "%s", host);
	snprintf(k->port, sizeof(k->port), "%s", port);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, look_up, k);
	pthread_attr_destroy(&attr);
	if (rc) {
		free_lookup(k);
		return sherd_fail(err, -rc, "%s: no thread to look the name up: %s", host,
				  strerror(rc));
	}
	c->lookup = k;
	c->state = SHERD_CONN_LOOKUP;
	return 0;
}

static int find(struct sherd_conn *c, const char *address, struct sherd_error *err)
{
	char host[256], port[8];
	int rc = sherd_address_split(address, host, port, err);

	if (rc)
		return rc;
	if (!*host || !atoi(port))
		return sherd_fail(err, -EINVAL,
				  "\"%s\": nobody can be called there: a host and a port "
				  "are needed",
				  address);
	c->n_to = sherd_address_find(host, port, AI_NUMERICHOST, c->to, NULL);
	if (c->n_to < 0)
		return start_lookup(c, host, port, err);
	c->state = SHERD_CONN_CONNECT;
	sherd_conn_mark(c);
	return 0;
}

int sherd_dial(struct sherd_net *n, const char *address, const char *name,
	       const struct sherd_link_user *user, void *ctx, struct sherd_link **out,
	       struct sherd_error *err)
{
	struct sherd_io_loop *l = sherd_io_of(n);
	struct sherd_conn *c;
	int rc;

	*out = NULL;
	if (l->ending)
		return sherd_fail(err, -ESHUTDOWN, "%s: this side ends", address);
	if (l->pub.n_links >= l->p.max_links)
		return sherd_fail(err, -EMFILE,
				  "%s: there are %u links already, and no more are allowed",
				  address, l->pub.n_links);
	c = sherd_conn_new(l, -1, err);
	if (!c)
		return -ENOMEM;
	snprintf(c->link.address, sizeof(c->link.address), "%s", address);
	c->name = name ? strdup(name) : NULL;
	rc = name && !c->name ? sherd_fail_oom(err, strlen(name), "a name") : find(c, address, err);
	if (rc) {
		sherd_conn_end(c); /* without a user nobody is told */
		return rc;
	}
	c->link.user = user;
	c->link.ctx = ctx;
	sherd_conn_after(c, l->p.connect_ms);
	*out = &c->link;
	return 0;
}

static void fail(struct sherd_conn *c, int rc)
{
	sherd_conn_failf(c, "%s: no connection: %s%s", c->link.address, strerror(-rc),
			 rc == -ECONNREFUSED ? " (nobody listens there)" : "");
}

void sherd_dial_next(struct sherd_conn *c)
{
	const struct sherd_io_ops *ops = c->sock.loop->ops;

	c->sock.fd = socket(c->to[c->at].ss_family,
			    SOCK_STREAM | SOCK_CLOEXEC | (ops->nonblock ? SOCK_NONBLOCK : 0), 0);
	if (c->sock.fd < 0) {
		sherd_dial_connected(c, -errno);
		return;
	}
	sherd_conn_set_options(c);
	ops->want(&c->sock, SHERD_IO_CONNECT);
}

void sherd_dial_connected(struct sherd_conn *c, int rc)
{
	if (c->state == SHERD_CONN_END) {
		sherd_conn_mark(c);
		return;
	}
	if (!rc) {
		sherd_conn_begin(c, false);
		return;
	}
	if (c->sock.fd >= 0) {
		c->sock.loop->ops->forget(&c->sock);
		close(c->sock.fd);
		c->sock.fd = -1;
	}
	if (++c->at < c->n_to)
		sherd_conn_mark(c);
	else
		fail(c, rc);
}
