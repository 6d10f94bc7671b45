/* SPDX-License-Identifier: MIT */
/*
 * io: the loop from within. conn.c has a link's life, out.c what it sends, address.c whom it dials,
 * listen.c who comes; below them a rung (io_epoll.c, io_uring.c) waits for sockets. A rung is asked
 * for one thing at a time and reports it by the sherd_conn_*() functions, from its wait() only.
 *
 * Nothing is ended or sent from within a user's call: such a call marks the link, and
 * sherd_io_settle(), which runs after each report, does what is to be done.
 */
#ifndef SHERD_IO_H
#define SHERD_IO_H

#include <pthread.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include "net/loop.h"
#include "net/reader.h"

#define SHERD_MAX_ADDRESSES 4
#define SHERD_PLAIN_ROOM    (16u << 10) /* a TLS record */

struct sherd_io_loop;
struct sherd_conn;
struct sherd_listener;
struct sherd_lookup;

/* What a rung can be doing for a conn, or a listener. */
enum {
	SHERD_IO_CONNECT = 1 << 0,
	SHERD_IO_RECV = 1 << 1, /* until told otherwise */
	SHERD_IO_WRITABLE = 1 << 2,
	SHERD_IO_ZC = 1 << 3,
	SHERD_IO_ACCEPT = 1 << 4, /* until told otherwise */
};

/* A socket as a rung sees it. */
struct sherd_sock {
	struct sherd_io_loop *loop;
	int fd;
	bool listens; /* part of a listener, not of a conn */
	unsigned armed; /* what the rung does now: a socket stays until this is 0 */
	unsigned wanted, cancelled; /* the rung's: asked for, to be called off */
	bool listed;
	struct sherd_sock *next; /* the rung's */
	uint8_t *room; /* the rung's: what it receives into */
};

struct sherd_io_ops {
	bool nonblock; /* sockets have to be */
	/* what is reported of a socket is of one that is still there, whatever a visitor did */
	bool visits;
	int (*open)(struct sherd_io_loop *l, struct sherd_error *err);
	void (*close)(struct sherd_io_loop *l);
	/* Begins something; it is reported when it has happened. */
	void (*want)(struct sherd_sock *s, unsigned what);
	/*
	 * Calls everything off: armed becomes 0, now or later (then sherd_conn_settle() is told).
	 */
	void (*cancel)(struct sherd_sock *s);
	/* The socket goes away, armed is 0. */
	void (*forget)(struct sherd_sock *s);
	/*
	 * Reports what has happened; waits for that @us at most, for ever if negative. Events, or
	 * -errno.
	 */
	int (*wait)(struct sherd_io_loop *l, int64_t us);
};

extern const struct sherd_io_ops sherd_io_epoll, sherd_io_uring_zc, sherd_io_uring_519,
	sherd_io_uring;

/* A frame on its way out. */
struct sherd_out {
	struct sherd_out *next;
	struct sherd_io_loop *loop;
	struct sherd_conn *conn; /* NULL: it is gone, and only the kernel reads the payload still */
	size_t size, sent; /* bytes on the stream, with header and padding */
	const uint8_t *data;
	uint32_t payload;
	int slot;
	bool queued;
	int readers; /* zero-copy sends that the kernel has not let go of */
	void (*done)(void *arg);
	void *arg;
	uint8_t header[SHERD_FRAME_HEADER];
	uint8_t copy[]; /* the payload, padded, if the caller keeps nothing */
};

struct sherd_outs {
	struct sherd_out *first, **end;
};

enum sherd_conn_state {
	SHERD_CONN_LOOKUP, /* its name is looked up */
	SHERD_CONN_CONNECT,
	SHERD_CONN_SHAKE, /* TLS's handshake */
	SHERD_CONN_UP,
	SHERD_CONN_FLUSH, /* hung up; sends what is queued */
	SHERD_CONN_DRAIN, /* has sent it all, and waits for the other side's end */
	SHERD_CONN_END, /* goes away as soon as the rung has let go of it */
};

struct sherd_conn {
	struct sherd_link link;
	struct sherd_sock sock;
	enum sherd_conn_state state;
	struct sherd_reader reader;
	struct sherd_error why;
	struct sherd_timer timer; /* the state's */
	struct sherd_conn *next, *prev; /* all of the loop's, oldest first */
	struct sherd_conn *dirty_next;
	bool dirty;
	bool stranger; /* accepted, no frame yet */
	bool finished; /* the other side has sent all it will */
	bool ended; /* called off */
	/* dialling */
	struct sherd_lookup *lookup;
	struct sockaddr_storage to[SHERD_MAX_ADDRESSES];
	int n_to, at;
	char *name; /* who is to be there */
	/* out */
	struct sherd_outs queue;
	size_t queued;
	uint64_t sequence;
	bool blocked; /* the socket is full */
	bool zc_off;
	struct sherd_out *zc; /* the last that was sent without a copy */
	struct sherd_tls *tls;
	bool tls_closed; /* has said goodbye, or is beyond that */
};

static inline struct sherd_conn *sherd_conn_of(struct sherd_sock *s)
{
	return (struct sherd_conn *)((char *)s - offsetof(struct sherd_conn, sock));
}

struct sherd_listener {
	struct sherd_sock sock; /* first */
	struct sherd_listener *next;
	struct sherd_timer pause; /* no descriptors are left: tries again */
};

struct sherd_post {
	struct sherd_post *next;
	void (*fn)(void *arg);
	void *arg;
};

struct sherd_io_loop {
	struct sherd_loop pub;
	struct sherd_loop_params p;
	const struct sherd_io_ops *ops;
	void *io; /* the rung's */
	int wake; /* an eventfd */
	bool sleeping, stopping; /* atomic */
	pthread_mutex_t turn; /* a visitor's while there is one, and asleep's */
	bool asleep; /* in the rung's system call: nothing here is in use */
	bool ending; /* being freed */
	struct sherd_post *posted; /* atomic, last first */
	struct sherd_timer *timers, *due; /* by time */
	struct sherd_conn *first, *last;
	struct sherd_conn *dirty, **dirty_end;
	struct sherd_listener *listeners;
	uint32_t n_strangers;
	struct sherd_outs released; /* done() is to be called */
	struct sherd_outs kernels; /* only the kernel reads them still */
	bool zc; /* the rung has it */
	bool fixed; /* slots are fixed buffers */
	uint8_t plain[SHERD_PLAIN_ROOM];
};

/* ---------------------------------------------------------------- loop.c */
/* Does what calls have asked for, until there is nothing more to do. */
void sherd_io_settle(struct sherd_io_loop *l);
/* A rung, around the system call in which it waits: others may have the loop meanwhile. */
void sherd_io_sleep(struct sherd_io_loop *l);
void sherd_io_awake(struct sherd_io_loop *l);

static inline struct sherd_io_loop *sherd_io_of(struct sherd_net *n)
{
	return (struct sherd_io_loop *)n; /* first of its first */
}

/* ---------------------------------------------------------------- conn.c */
struct sherd_conn *sherd_conn_new(struct sherd_io_loop *l, int fd, struct sherd_error *err);
/* A socket for @c, or one that was accepted: options that all have. */
void sherd_conn_set_options(struct sherd_conn *c);
/* Connected: TLS next, or up. */
void sherd_conn_begin(struct sherd_conn *c, bool server);
void sherd_conn_mark(struct sherd_conn *c);
/* Ends it, with c->why already set. */
void sherd_conn_end(struct sherd_conn *c);
void sherd_conn_fail(struct sherd_conn *c, const struct sherd_error *why);
__attribute__((format(printf, 2, 3)))
void sherd_conn_failf(struct sherd_conn *c, const char *fmt, ...);
void sherd_conn_after(struct sherd_conn *c, uint32_t ms);
/* What is to be done for a marked one; it may be gone afterwards. */
void sherd_conn_settle(struct sherd_conn *c);
void sherd_conn_hang_up(struct sherd_link *l, const char *why);
/* A rung's reports. @n: bytes, 0 at the end, or -errno */
void sherd_conn_received(struct sherd_conn *c, const void *data, ssize_t n);
void sherd_conn_writable(struct sherd_conn *c);

/* ---------------------------------------------------------------- out.c */
void sherd_out_send(struct sherd_link *l, const struct sherd_frame *f,
		    const struct sherd_payload *p);
size_t sherd_out_queued(const struct sherd_link *l);
/* Gives the kernel what it takes. */
void sherd_out_flush(struct sherd_conn *c);
/* Nothing more of it is sent. */
void sherd_out_drop_all(struct sherd_conn *c);
/* Calls the done()s that are due. */
bool sherd_out_release(struct sherd_io_loop *l);
/* For a rung: the rest of the first frame's payload, which it now sends without a copy. */
struct sherd_out *sherd_out_zc_begin(struct sherd_conn *c, const uint8_t **data, size_t *n);
/*
 * A rung's reports: @res bytes went out, or -errno; @more: the kernel reads the payload still,
 * until _let_go().
 */
void sherd_out_zc_sent(struct sherd_out *o, int res, bool more);
void sherd_out_let_go(struct sherd_out *o, bool copied);

static inline void sherd_outs_init(struct sherd_outs *q)
{
	q->first = NULL;
	q->end = &q->first;
}

/* ---------------------------------------------------------------- address.c */
/* "host:port" into its parts; @host has room for as many bytes as @address. */
int sherd_address_split(const char *address, char *host, char port[8], struct sherd_error *err);
/* @flags: AI_*. How many of SHERD_MAX_ADDRESSES there are, or -errno. */
int sherd_address_find(const char *host, const char *port, int flags,
		       struct sockaddr_storage to[SHERD_MAX_ADDRESSES], struct sherd_error *err);
void sherd_address_print(const struct sockaddr_storage *a, char text[64]);
static inline socklen_t sherd_address_size(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* ---------------------------------------------------------------- dial.c */
int sherd_dial(struct sherd_net *n, const char *address, const char *name,
	       const struct sherd_link_user *user, void *ctx, struct sherd_link **l,
	       struct sherd_error *err);
/* Tries the next of its addresses. */
void sherd_dial_next(struct sherd_conn *c);
/* A rung's report: 0 or -errno. */
void sherd_dial_connected(struct sherd_conn *c, int rc);
/* Nobody waits for the name any more. */
void sherd_dial_forget(struct sherd_conn *c);

/* ---------------------------------------------------------------- listen.c */
/* A rung's report: a descriptor or -errno. */
void sherd_listener_accepted(struct sherd_listener *x, int fd);
void sherd_listener_close_all(struct sherd_io_loop *l);

#endif
