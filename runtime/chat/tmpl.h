/* SPDX-License-Identifier: MIT */
/*
 * tmpl: what the files of the template engine share. It renders the Jinja that chat templates are
 * written in, and the rules are Jinja's and Python's own, down to how a list is printed.
 *
 *   tmpl_lex.c         text -> tokens: white space, escapes, raw blocks
 *   tmpl_token.c       the parser's place among them
 *   tmpl_operand.c     } tokens -> expressions    } a tree of struct tmpl_node
 *   tmpl_expr.c        }                          }
 *   tmpl_parse.c       tokens -> statements       }
 *   tmpl_eval.c        expressions -> values
 *   tmpl_exec.c        statements -> text: loops, macros, scopes
 *   tmpl_value.c       values: truth, equality, order
 *   tmpl_container.c   lists and dicts, also from JSON
 *   tmpl_item.c        what is in a value: a.b, a[b], a[b:c]
 *   tmpl_text.c        strings of UTF-8, counted in characters
 *   tmpl_print.c       values as Python prints them, and as JSON
 *   tmpl_format.c      "%s" and "{}"
 *   tmpl_fn.c          how functions, filters, tests and methods are found and take arguments
 *   tmpl_filter.c, tmpl_list.c, tmpl_test.c, tmpl_method.c, tmpl_method_str.c, tmpl_global.c
 *                      these themselves
 *
 * A template may come from anywhere. Trees, values and texts live in an arena that has a limit and
 * is freed at once; each step of work is counted, in proportion to the bytes it touches; nesting
 * has a depth. The first failure sticks: from then on every function returns quickly, with
 * whatever it has.
 */
#ifndef SHERD_TMPL_H
#define SHERD_TMPL_H

#include <jansson.h>
#include <time.h>
#include "base/base.h"
#include "chat/template.h"

#define TMPL_DEPTH     200  /* of nested syntax */
#define TMPL_RUN_DEPTH 1200 /* of expressions and statements that are at work */
#define TMPL_STEPS     ((uint64_t)16 << 20)
#define TMPL_MEMORY    ((size_t)64 << 20)
#define TMPL_RANGE     100000

/* --------------------------------------------------------------- memory */

struct tmpl_block;

struct tmpl_arena {
	struct tmpl_block *blocks; /* the newest first */
	size_t held;		   /* bytes, of all blocks */
};

/* NULL: no more, or more than the limit. Zeroed, aligned for anything. */
void *tmpl_alloc(struct tmpl_arena *a, size_t size);
void tmpl_arena_free(struct tmpl_arena *a);

/* --------------------------------------------------------------- values */

enum tmpl_kind {
	TMPL_UNDEFINED, /* s: the name that is not there */
	TMPL_NONE,
	TMPL_BOOL,
	TMPL_INT,
	TMPL_FLOAT,
	TMPL_STR,
	TMPL_LIST,
	TMPL_DICT,
	TMPL_NAMESPACE, /* a dict whose entries are attributes, and may be set */
	TMPL_LOOP,
	TMPL_MACRO,
	TMPL_FUNC,
};

enum tmpl_list_kind { TMPL_IS_LIST, TMPL_IS_TUPLE, TMPL_IS_GENERATOR };

/* Passed by value; what it points to is the arena's and never changes, but namespaces. */
struct tmpl_value {
	uint8_t kind;
	uint8_t list_kind;
	bool markup; /* TMPL_STR: what is added to it is escaped for HTML, as Python's Markup does */
	uint32_t n;  /* TMPL_STR, TMPL_UNDEFINED: bytes of s */
	union {
		bool b;
		int64_t i;
		double f;
		const char *s; /* not NUL-terminated */
		struct tmpl_list *list;
		struct tmpl_dict *dict;
		struct tmpl_loop *loop;
		struct tmpl_macro *macro;
		struct tmpl_func *func;
	};
};

struct tmpl_list {
	struct tmpl_value *v;
	uint32_t n, room;
};

/* In the order in which they were put. */
struct tmpl_dict {
	struct tmpl_value *keys, *values;
	uint32_t n, room;
};

struct tmpl_var {
	const char *name; /* interned: equal names are one pointer */
	struct tmpl_value value;
	struct tmpl_var *next;
};

struct tmpl_scope {
	struct tmpl_scope *parent;
	struct tmpl_var *vars;
};

struct tmpl_loop {
	struct tmpl_list *items;
	uint32_t at;
	int depth;
	const struct tmpl_node *node; /* the loop itself, for recursive ones */
	struct tmpl_scope *scope;     /* around it */
	struct tmpl_value changed;    /* what changed() was last called with */
	bool any_changed;
};

struct tmpl_macro {
	const struct tmpl_node *node;
	struct tmpl_scope *scope; /* where it was defined */
};

struct tmpl_func {
	const struct tmpl_fn *fn;
	struct tmpl_value self;
};

/* ----------------------------------------------------------------- tree */

enum tmpl_node_type {
	/* statements: a sibling follows in next */
	N_TEXT,	 /* value */
	N_PRINT, /* a */
	N_IF,	 /* list: branches of N_BRANCH: a (NULL: else), list */
	N_BRANCH,
	N_FOR, /* a: target, b: iterable, c: condition or NULL, list: body, other: else */
	N_SET, /* a: target, b: value; b NULL: list is the block, other: filters on N_BLOCK_TEXT */
	N_MACRO,	/* value: name, other: N_PARAMs, list: body */
	N_CALL_BLOCK,	/* a: N_CALL, other: N_PARAMs, list: body */
	N_FILTER_BLOCK, /* a: filters on N_BLOCK_TEXT, list: body */
	N_WITH,		/* other: N_SETs, list: body */
	N_GROUP,	/* list: body */
	N_BREAK,
	N_CONTINUE,
	N_PARAM, /* value: name, a: default or NULL */
	/* expressions */
	N_CONST, /* value */
	N_NAME,	 /* value */
	N_TUPLE,
	N_LIST,	 /* list: items */
	N_DICT,	 /* list: key, value, key, value ... */
	N_ATTR,	 /* a, value: the name */
	N_INDEX, /* a, b */
	N_SLICE, /* a, list: N_NOTHING or expression, three */
	N_NOTHING,
	N_CALL,	   /* a, list: arguments: expressions, N_KEYWORD, N_SPREAD, N_SPREAD_DICT */
	N_KEYWORD, /* value: name, a */
	N_SPREAD,
	N_SPREAD_DICT,
	N_FILTER, /* a, fn, value: name, list: arguments */
	N_TEST,
	N_BLOCK_TEXT, /* the text of the block that is being filtered */
	N_NOT,	      /* a */
	N_NEG,
	N_POS,
	N_AND, /* a, b */
	N_OR,
	N_CHOOSE,  /* a if b else c (c may be NULL) */
	N_COMPARE, /* a, list: N_OPERAND: op, a */
	N_OPERAND,
	N_CONCAT, /* list */
	N_ADD,
	N_SUB,
	N_MUL,
	N_DIV,
	N_FLOORDIV,
	N_MOD,
	N_POW,
};

/* What a macro takes beside its parameters, if its body names it. */
enum { TMPL_SEES_VARARGS = 1, TMPL_SEES_KWARGS = 2, TMPL_SEES_CALLER = 4 };

struct tmpl_node {
	enum tmpl_node_type type;
	int line;
	int op;		/* of N_OPERAND: an enum tmpl_token_type; of macros: TMPL_SEES_... */
	bool recursive; /* N_FOR */
	const struct tmpl_fn *fn;
	struct tmpl_node *a, *b, *c, *list, *other, *next;
	struct tmpl_value value;
};

/* --------------------------------------------------------------- tokens */

/* Operators of one character are that character. */
enum tmpl_token_type {
	T_TEXT = 256,
	T_PRINT, /* {{ */
	T_PRINT_END,
	T_BLOCK, /* {% */
	T_BLOCK_END,
	T_NAME,
	T_STRING,
	T_NUMBER,
	T_EQ, /* == */
	T_NE,
	T_LE,
	T_GE,
	T_FLOORDIV,
	T_POW,
	T_IN, /* these two are made by the parser, from names */
	T_NOT_IN,
	T_END,
};

struct tmpl_token {
	int type;
	int line;
	struct tmpl_value value;
};

/* --------------------------------------------------------------- at work */

#define TMPL_NAMES 256

struct tmpl_name {
	struct tmpl_name *next;
	uint32_t n;
	char s[];
};

struct sherd_template {
	struct tmpl_arena arena;
	struct tmpl_name *names[TMPL_NAMES];	      /* by hash */
	const char *loop, *caller, *varargs, *kwargs; /* names that statements bind */
	struct tmpl_node *body;
};

struct tmpl_text {
	char *s;
	size_t n, room;
};

/* A parse, or a rendering. */
struct tmpl {
	struct tmpl_arena *arena;	 /* a parse's is the template's, a rendering has its own */
	struct sherd_template *template; /* has the names */
	struct sherd_error *err;
	int rc; /* of the first failure; nothing counts any more */
	int line;
	int depth;
	uint64_t steps;
	/* a parse */
	struct tmpl_token *tokens;
	size_t n_tokens, room_tokens, at;
	int n_loops; /* that the parser is within: break and continue belong into one */
	int seen;    /* TMPL_SEES_...: names that stand in the macro at hand */
	/* a rendering */
	struct tmpl_scope *scope;
	struct tmpl_text *out;
	struct tmpl_value block_text;
	enum tmpl_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;
	time_t now;
};

/* Leaves "the chat template's line 7: ..." and @rc, unless something failed before. Returns undefined. */
struct tmpl_value tmpl_fail_as(struct tmpl *t, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The template is wrong. */
#define tmpl_fail(t, ...) tmpl_fail_as(t, -EINVAL, __VA_ARGS__)
/* It wants what this engine does not know. */
#define tmpl_fail_unknown(t, ...) tmpl_fail_as(t, -EOPNOTSUPP, __VA_ARGS__)
struct tmpl_value tmpl_fail_oom(struct tmpl *t);
/* Counts work on @bytes. False: too much, or something had failed. */
bool tmpl_work(struct tmpl *t, size_t bytes);
/* One level deeper; false and a failure: too deep. tmpl_leave() in either case. */
bool tmpl_enter(struct tmpl *t, int limit);
static inline void tmpl_leave(struct tmpl *t)
{
	t->depth--;
}
/* Memory of this parse or rendering; NULL and a failure. */
void *tmpl_get(struct tmpl *t, size_t n, size_t size);
/* The one pointer of this name; NULL in a rendering, if the template has no such name. */
const char *tmpl_intern(struct tmpl *t, const char *s, size_t n);

int tmpl_lex(struct tmpl *t, const char *text, size_t len);
int tmpl_parse(struct tmpl *t, struct tmpl_node **body);

/* for the parts of the parser */
struct tmpl_node *tmpl_node(struct tmpl *t, enum tmpl_node_type type);
const struct tmpl_token *tmpl_peek(const struct tmpl *t);
bool tmpl_is(const struct tmpl *t, int type);
bool tmpl_is_name(const struct tmpl *t, const char *name);
bool tmpl_take(struct tmpl *t, int type); /* if it is there */
bool tmpl_take_name(struct tmpl *t, const char *name);
bool tmpl_want(struct tmpl *t, int type, const char *what); /* or fail */
void tmpl_next(struct tmpl *t);				     /* whatever it is */
const char *tmpl_token_text(const struct tmpl_token *k, char buf[64]);
/* A chain of nodes that grows at its end. */
struct tmpl_chain {
	struct tmpl_node *first, **end;
};
static inline void tmpl_chain_init(struct tmpl_chain *c)
{
	c->first = NULL;
	c->end = &c->first;
}
static inline void tmpl_chain_add(struct tmpl_chain *c, struct tmpl_node *n)
{
	if (!n)
		return;
	*c->end = n;
	c->end = &n->next;
}
struct tmpl_node *tmpl_parse_expr(struct tmpl *t);		 /* with a choice at the end */
struct tmpl_node *tmpl_parse_tuple(struct tmpl *t, bool choice); /* a, b; or one expression */
struct tmpl_node *tmpl_parse_unary(struct tmpl *t, bool filters);
struct tmpl_node *tmpl_parse_target(struct tmpl *t, bool attr); /* what is assigned to */
struct tmpl_node *tmpl_parse_filters(struct tmpl *t, struct tmpl_node *on);
void tmpl_parse_args(struct tmpl *t, struct tmpl_chain *c); /* behind "(" */
struct tmpl_node *tmpl_parse_attr(struct tmpl *t, struct tmpl_node *on); /* behind "." */
struct tmpl_node *tmpl_negated(struct tmpl *t, struct tmpl_node *what);

struct tmpl_value tmpl_eval(struct tmpl *t, const struct tmpl_node *n);
void tmpl_exec(struct tmpl *t, const struct tmpl_node *list);
void tmpl_assign(struct tmpl *t, const struct tmpl_node *target, struct tmpl_value v);
/* Both want interned names. */
const struct tmpl_value *tmpl_lookup(struct tmpl *t, const char *name);
void tmpl_bind(struct tmpl *t, struct tmpl_scope *s, const char *name, struct tmpl_value v);

/* ------------------------------------------------------------- functions */

struct tmpl_args {
	const struct tmpl_value *v; /* [n] */
	uint32_t n;
	const struct tmpl_dict *named;
};

/*
 * A function's parameters have names; whatever way its arguments came, it finds them in order,
 * NULL where one is missing. Those with "*" take what comes.
 */
#define TMPL_PARAMS 5
struct tmpl_call {
	const struct tmpl_value *arg[TMPL_PARAMS];
	const struct tmpl_args *all;
};

typedef struct tmpl_value tmpl_fn_t(struct tmpl *t, struct tmpl_value self,
				    const struct tmpl_call *c);
#define TMPL_FN(name, self)                                                   \
	static struct tmpl_value name(struct tmpl *t, struct tmpl_value self, \
				      const struct tmpl_call *c)

struct tmpl_fn {
	const char *name;
	tmpl_fn_t *call;
	const char *params; /* "old,new,count", or "*" */
	int required;
};

/* Tables end with an empty row. */
extern const struct tmpl_fn tmpl_filters[], tmpl_list_filters[], tmpl_tests[], tmpl_globals[];
extern const struct tmpl_fn tmpl_str_methods[], tmpl_dict_methods[], tmpl_list_methods[];
extern const struct tmpl_fn tmpl_loop_methods[];

const struct tmpl_fn *tmpl_find_fn(const struct tmpl_fn *table, const char *s, size_t n);
const struct tmpl_fn *tmpl_find_filter(const char *s, size_t n);
struct tmpl_value tmpl_call_fn(struct tmpl *t, const struct tmpl_fn *fn, struct tmpl_value self,
			       const struct tmpl_args *args);
struct tmpl_value tmpl_call_value(struct tmpl *t, struct tmpl_value callee,
				  const struct tmpl_args *args);
struct tmpl_value tmpl_call_macro(struct tmpl *t, struct tmpl_macro *m,
				  const struct tmpl_args *args);
struct tmpl_value tmpl_call_loop(struct tmpl *t, struct tmpl_loop *l, const struct tmpl_args *args);
/* A method of a value; undefined, if it has none of that name. */
struct tmpl_value tmpl_method(struct tmpl *t, struct tmpl_value self, const char *name, size_t n);

/* ---------------------------------------------------------------- values */

static inline struct tmpl_value tmpl_none(void)
{
	return (struct tmpl_value){ .kind = TMPL_NONE };
}
static inline struct tmpl_value tmpl_bool(bool b)
{
	return (struct tmpl_value){ .kind = TMPL_BOOL, .b = b };
}
static inline struct tmpl_value tmpl_int(int64_t i)
{
	return (struct tmpl_value){ .kind = TMPL_INT, .i = i };
}
static inline struct tmpl_value tmpl_float(double f)
{
	return (struct tmpl_value){ .kind = TMPL_FLOAT, .f = f };
}
/* @s is the arena's or a constant. */
static inline struct tmpl_value tmpl_str(const char *s, size_t n)
{
	return (struct tmpl_value){ .kind = TMPL_STR, .n = (uint32_t)n, .s = s };
}
static inline struct tmpl_value tmpl_undefined(const char *s, size_t n)
{
	return (struct tmpl_value){ .kind = TMPL_UNDEFINED, .n = (uint32_t)n, .s = s };
}
static inline bool tmpl_is_number(struct tmpl_value v)
{
	return v.kind >= TMPL_BOOL && v.kind <= TMPL_FLOAT;
}
static inline bool tmpl_str_is(struct tmpl_value v, const char *s)
{
	return v.n == strlen(s) && !memcmp(v.s, s, v.n);
}
struct tmpl_value tmpl_new_list(struct tmpl *t, enum tmpl_list_kind kind, uint32_t room);
struct tmpl_value tmpl_new_dict(struct tmpl *t, enum tmpl_kind kind);
void tmpl_push(struct tmpl *t, struct tmpl_value list, struct tmpl_value v);
void tmpl_put(struct tmpl *t, struct tmpl_dict *d, struct tmpl_value key, struct tmpl_value v);
/* NULL: no such key */
const struct tmpl_value *tmpl_dict_get(struct tmpl *t, const struct tmpl_dict *d,
				       struct tmpl_value key);
struct tmpl_value tmpl_from_json(struct tmpl *t, const json_t *j);
/* "str", "dict", ... as Python calls it */
const char *tmpl_type_name(struct tmpl_value v);
bool tmpl_truth(struct tmpl_value v);
bool tmpl_equal(struct tmpl *t, struct tmpl_value a, struct tmpl_value b);
/* <0, 0, >0; fails where Python would. @fold: letters' case does not count. */
int tmpl_order(struct tmpl *t, struct tmpl_value a, struct tmpl_value b, bool fold);
bool tmpl_contains(struct tmpl *t, struct tmpl_value in, struct tmpl_value what);
/* The items of whatever can be gone through; fails for what cannot. A list for all to read. */
struct tmpl_value tmpl_items(struct tmpl *t, struct tmpl_value v);
double tmpl_number(struct tmpl_value v);
/* An argument that has to be a whole number; @missing where there is none. */
int64_t tmpl_arg_int(struct tmpl *t, const struct tmpl_value *v, int64_t missing);
bool tmpl_arg_bool(const struct tmpl_value *v, bool missing);

/* a.b, and a[b]; undefined where it is not there. */
struct tmpl_value tmpl_attr(struct tmpl *t, struct tmpl_value v, struct tmpl_value name);
struct tmpl_value tmpl_index(struct tmpl *t, struct tmpl_value v, struct tmpl_value key);
/* a[b:c:d]; NULL, or none, where nothing was given */
struct tmpl_value tmpl_slice(struct tmpl *t, struct tmpl_value v, const struct tmpl_value *from,
			     const struct tmpl_value *to, const struct tmpl_value *step);
struct tmpl_value tmpl_arith(struct tmpl *t, enum tmpl_node_type op, struct tmpl_value a,
			     struct tmpl_value b);

/* ----------------------------------------------------------------- texts */

void tmpl_add(struct tmpl *t, struct tmpl_text *out, const char *s, size_t n);
void tmpl_addf(struct tmpl *t, struct tmpl_text *out, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static inline struct tmpl_value tmpl_text_value(const struct tmpl_text *x)
{
	return tmpl_str(x->s ? x->s : "", x->n);
}
/* str(), repr() and json.dumps() */
void tmpl_add_str(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v);
void tmpl_add_repr(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v);
struct tmpl_json {
	int indent; /* -1: on one line */
	bool sort, ascii;
	struct tmpl_value item_sep, key_sep;
};
void tmpl_add_json(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v,
		   const struct tmpl_json *j, int level);
void tmpl_add_float(struct tmpl *t, struct tmpl_text *out, double f);
/* str(v); what is a string stays as it is. */
struct tmpl_value tmpl_to_str(struct tmpl *t, struct tmpl_value v);
/* "..." % v, and "...".format(...) */
struct tmpl_value tmpl_percent(struct tmpl *t, struct tmpl_value format, struct tmpl_value v);
struct tmpl_value tmpl_format(struct tmpl *t, struct tmpl_value format,
			      const struct tmpl_args *args);

/* Bytes of the character at @s; texts are valid UTF-8. */
static inline size_t tmpl_char(const char *s)
{
	uint8_t c = (uint8_t)*s;

	return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}
size_t tmpl_chars(struct tmpl_value s); /* how many characters */
/* Bytes of white space, as Python has it, that @s begins or ends with; 0: none. */
size_t tmpl_space(const char *s, size_t n);
size_t tmpl_space_back(const char *s, size_t n);
enum { TMPL_LEFT = 1, TMPL_RIGHT = 2 };
/* @chars: NULL or none: white space */
struct tmpl_value tmpl_strip(struct tmpl *t, struct tmpl_value s, const struct tmpl_value *chars,
			     int sides);
/* upper(), lower(), title(): each word's first letter, capitalize(): the text's */
enum tmpl_case { TMPL_UPPER, TMPL_LOWER, TMPL_TITLE, TMPL_CAPITAL };
struct tmpl_value tmpl_recase(struct tmpl *t, struct tmpl_value s, enum tmpl_case to);
/* The first place of @what at or behind byte @from; SIZE_MAX: there is none. */
size_t tmpl_find(struct tmpl *t, struct tmpl_value s, struct tmpl_value what, size_t from);
/* @count < 0: all of them */
struct tmpl_value tmpl_replace(struct tmpl *t, struct tmpl_value s, struct tmpl_value old,
			       struct tmpl_value by, int64_t count);
struct tmpl_value tmpl_splitlines(struct tmpl *t, struct tmpl_value s, bool keep);
/* & < > ' " as HTML's entities */
struct tmpl_value tmpl_escape(struct tmpl *t, struct tmpl_value s);
struct tmpl_value tmpl_repeat(struct tmpl *t, struct tmpl_value s, int64_t times);

#endif
