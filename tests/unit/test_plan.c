/* SPDX-License-Identifier: MIT */
/*
 * The planner's files: what was written is read again, and each fault in one is said in a sentence
 * that names the file and the place. Files come from people and from other machines, so there are
 * many faults.
 */
#include <math.h>
#include "plan/plan.h"
#include "scratch.h"
#include "tiny_model.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct fault {
	const char *text, *says;
};

static uint64_t seed;

/* ----------------------------------------------------------------- cluster */

#define NODE_A "{\"name\":\"a\",\"address\":\"10.0.0.1:1\"}"
#define NODES(more) "{\"nodes\":[" NODE_A more "]"
#define ONE(more)   "{\"nodes\":[{\"name\":\"b\",\"address\":\"h:2\"," more "}]}"

static const struct fault cluster_faults[] = {
	{ "", "is not JSON: line 1" },
	{ "{\"nodes\":[" NODE_A "],\"nodes\":[]}", "duplicate object key" },
	{ "[]", "is an array where an object is needed" },
	{ "{}", "nodes: is missing" },
	{ "{\"nodes\":[]}", "nodes: has 0 entries, and may have 1 to 64" },
	{ "{\"nods\":[]}", "there is no key \"nods\"; did you mean \"nodes\"?" },
	{ NODES("") ",\"frobnicate\":1}", "there is no key \"frobnicate\"" },
	{ "{\"nodes\":[7]}", "nodes[0]: is a whole number where an object is needed" },
	{ "{\"nodes\":[{\"address\":\"h:1\"}]}", "nodes[0].name: is missing" },
	{ "{\"nodes\":[{\"name\":\"a\"}]}", "nodes[0].address: is missing" },
	{ "{\"nodes\":[{\"name\":\"\",\"address\":\"h:1\"}]}", "nodes[0].name: is empty" },
	{ "{\"nodes\":[{\"name\":\"a b\",\"address\":\"h:1\"}]}",
	  "\"a b\" can't be a node's name" },
	{ "{\"nodes\":[{\"name\":\"head\",\"address\":\"h:1\"}]}",
	  "\"head\" can't be a node's name" },
	{ "{\"nodes\":[{\"name\":\"../x\",\"address\":\"h:1\"}]}", "can't be a node's name" },
	{ "{\"nodes\":[{\"name\":\"a\\u001b\",\"address\":\"h:1\"}]}",
	  "holds a control character" },
	{ "{\"nodes\":[{\"name\":\"a\\u009b\",\"address\":\"h:1\"}]}",
	  "holds a control character" },
	{ "{\"nodes\":[{\"name\":\"a\",\"address\":\"h\"}]}", "\"h\" is not an address such as" },
	{ "{\"nodes\":[{\"name\":\"a\",\"address\":\"h:0\"}]}", "is not an address" },
	{ "{\"nodes\":[{\"name\":\"a\",\"address\":\"h:65536\"}]}", "is not an address" },
	{ "{\"nodes\":[{\"name\":\"a\",\"address\":\"h:12x\"}]}", "is not an address" },
	{ "{\"nodes\":[{\"name\":\"a\",\"address\":\"fe80::1:77\"}]}", "is not an address" },
	{ "{\"nodes\":[{\"name\":\"a\",\"address\":\"[]:77\"}]}", "is not an address" },
	{ NODES(",{\"name\":\"a\",\"address\":\"h:2\"}") "}",
	  "nodes[1]: there is a node \"a\" already: nodes[0]" },
	{ NODES(",{\"name\":\"b\",\"address\":\"10.0.0.1:1\"}") "}",
	  "\"b\" has the address 10.0.0.1:1 of node \"a\"" },
	{ ONE("\"memory\":0"), "nodes[0].memory: a memory of 0 bytes is none that a node has" },
	{ ONE("\"memory\":-5"), "a memory of -5 bytes is none" },
	{ ONE("\"memory\":\"0GiB\""), "a memory of \"0GiB\" is none" },
	{ ONE("\"memory\":\"2GB\""), "\"2GB\" is not a size such as \"2GiB\"" },
	{ ONE("\"memory\":\"lots\""), "is not a size" },
	{ ONE("\"memory\":\"1e30GiB\""), "is none that a node has" },
	{ ONE("\"memory\":\"99999999TiB\""), "is none that a node has" },
	{ ONE("\"memory\":true"), "is true or false where a whole number is needed" },
	{ ONE("\"slower\":0"), "nodes[0].slower: is 0, and may be 0.001 to" },
	{ ONE("\"profil\":1"), "did you mean \"profile\"" },
	{ ONE("\"profile\":\"nosuch.json\""), "nodes[0].profile: " },
	{ ONE("\"profile\":{}"), "nodes[0].profile.sherd_profile: is missing" },
	{ ONE("\"profile\":7"), "nodes[0].profile: is a whole number where an object is needed" },
	{ NODES("") ",\"links\":[{\"from\":\"a\",\"to\":\"c\",\"mbit\":1,\"rtt_us\":1}]}",
	  "links[0].to: there is no node \"c\"" },
	{ NODES("") ",\"links\":[{\"from\":\"a\",\"to\":\"a\",\"mbit\":1,\"rtt_us\":1}]}",
	  "links[0]: a link from a node to itself" },
	{ NODES("") ",\"links\":[{\"from\":\"a\",\"to\":\"head\",\"mbit\":-1,\"rtt_us\":1}]}",
	  "links[0].mbit: is -1, and may be 0.001 to" },
	{ NODES("") ",\"links\":[{\"from\":\"a\",\"to\":\"head\",\"mbit\":1,\"rtt_us\":-1}]}",
	  "links[0].rtt_us: is -1" },
	{ NODES("") ",\"links\":[{\"from\":\"a\",\"to\":\"head\",\"mbit\":1}]}",
	  "links[0].rtt_us: is missing" },
	{ NODES("") ",\"links\":[{\"from\":\"a\",\"to\":\"head\",\"mbit\":1,\"rtt_us\":1},"
		    "{\"from\":\"a\",\"to\":\"head\",\"mbit\":1,\"rtt_us\":1}]}",
	  "links[1]: this link was given before" },
	{ NODES("") ",\"default_link\":{\"mbit\":\"fast\",\"rtt_us\":1}}",
	  "default_link.mbit: is a string where a number is needed" },
	{ "{\"sherd_plan\":1,\"nodes\":{}}", "FILE: is no cluster file" },
};

static void check_sentence(const struct sherd_error *err, const struct fault *f)
{
	if (!strstr(err->msg, f->says) || strncmp(err->msg, "FILE", 4) || strchr(err->msg, '\n'))
		fail_msg("%s\nsays \"%s\", and not \"%s\"", f->text, err->msg, f->says);
}

static void each_fault_of_a_cluster_is_named_with_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cluster_faults); i++) {
		const struct fault *f = &cluster_faults[i];
		struct sherd_cluster *c;
		struct sherd_error err = { "" };

		assert_int_equal(sherd_cluster_parse(&c, f->text, strlen(f->text), "FILE", dir,
						     &err),
				 -EINVAL);
		assert_null(c);
		check_sentence(&err, f);
	}
}

static void a_link_holds_both_ways_unless_both_are_given(void **state)
{
	static const char text[] =
		"{\"nodes\":[" NODE_A ",{\"name\":\"b\",\"address\":\"[fe80::1%eth0]:2\"},"
		"{\"name\":\"c\",\"address\":\"c.local:3\",\"memory\":\"1.5GiB\"}],"
		"\"links\":[{\"from\":\"a\",\"to\":\"b\",\"mbit\":10,\"rtt_us\":1},"
		"{\"from\":\"b\",\"to\":\"c\",\"mbit\":20,\"rtt_us\":2},"
		"{\"from\":\"c\",\"to\":\"b\",\"mbit\":30,\"rtt_us\":3},"
		"{\"from\":\"head\",\"to\":\"a\",\"mbit\":40,\"rtt_us\":4}]}";
	struct sherd_cluster *c;
	struct sherd_error err;

	(void)state;
	assert_int_equal(sherd_cluster_parse(&c, text, strlen(text), "FILE", NULL, &err), 0);
	assert_true(sherd_cluster_link(c, 0, 1)->mbit == 10 &&
		    sherd_cluster_link(c, 1, 0)->mbit == 10);
	assert_true(sherd_cluster_link(c, 1, 2)->mbit == 20 &&
		    sherd_cluster_link(c, 2, 1)->mbit == 30);
	assert_true(sherd_cluster_link(c, 3, 0)->mbit == 40 &&
		    sherd_cluster_link(c, 0, 3)->rtt_us == 4);
	assert_true(sherd_cluster_link(c, 0, 2)->assumed && !sherd_cluster_link(c, 0, 1)->assumed);
	assert_true(sherd_cluster_memory(&c->nodes[2]) == (uint64_t)3 << 29);
	assert_int_equal(sherd_cluster_memory(&c->nodes[0]), 0);
	sherd_cluster_free(c);
}

/* ---------------------------------------------------------------- profiles */

#define PROFILE(model, memory, bits)                                                   \
	"{\"sherd_profile\":1,\"device\":\"d\",\"bit_profile\":\"x\",\"model\":" model \
	",\"memory\":" memory ",\"bits\":" bits "}"
#define MODEL  "{\"hash\":\"" HASH "\",\"n_layers\":4,\"hidden\":64}"
#define MEMORY "{\"total\":100,\"available\":50}"
#define WIDTH(curve, spans)                                               \
	"{\"file\":{\"step\":[[1,1]],\"embed\":[[1,1]],\"output\":" curve \
	",\"kinds\":[{\"layers\":" spans ",\"us\":[[1,5],[4,9.5]]}]}}"
#define CURVE "[[1,2],[8,3]]"

static const struct fault profile_faults[] = {
	{ "{", "is not JSON" },
	{ "{\"sherd_profile\":2}", "sherd_profile: is 2, and may be 1 to 1" },
	{ PROFILE("7", MEMORY, WIDTH(CURVE, "[[0,4]]")),
	  "model: is a whole number where an object" },
	{ PROFILE("{\"hash\":\"abc\",\"n_layers\":4,\"hidden\":64}", MEMORY,
		  WIDTH(CURVE, "[[0,4]]")),
	  "model.hash: \"abc\" is not 64 hexadecimal digits" },
	{ PROFILE("{\"hash\":\"" HASH "\",\"n_layers\":4096,\"hidden\":64}", MEMORY, "{}"),
	  "model.n_layers: is 4096, and may be 1 to 1024" },
	{ PROFILE(MODEL, "{\"total\":0,\"available\":0}", "{}"), "memory.total: is 0" },
	{ PROFILE(MODEL, "{\"total\":5,\"available\":6}", "{}"),
	  "memory.available: is 6, and may be 0 to 5" },
	{ PROFILE(MODEL, MEMORY, "{}"), "bits: holds no measurement" },
	{ PROFILE(MODEL, MEMORY, "{\"5\":{}}"), "bits: there is no key \"5\"" },
	{ PROFILE(MODEL, MEMORY, "{\"4\":{}}"), "bits.4.step: is missing" },
	{ PROFILE(MODEL, MEMORY, WIDTH("[]", "[[0,4]]")), "bits.file.output: has 0 entries" },
	{ PROFILE(MODEL, MEMORY, WIDTH("[[1,2],[1,3]]", "[[0,4]]")),
	  "is 1 after 1: tokens must rise" },
	{ PROFILE(MODEL, MEMORY, WIDTH("[[1,-2]]", "[[0,4]]")), "output[0][1]: is -2" },
	{ PROFILE(MODEL, MEMORY, WIDTH("[[1,1e99]]", "[[0,4]]")), "output[0][1]: is 1e+99" },
	{ PROFILE(MODEL, MEMORY, WIDTH("[[1]]", "[[0,4]]")), "output[0]: has 1 entries" },
	{ PROFILE(MODEL, MEMORY, WIDTH(CURVE, "[[0,5]]")),
	  "kinds[0].layers[0][1]: is 5, and may be 1 to 4" },
	{ PROFILE(MODEL, MEMORY, WIDTH(CURVE, "[[2,1]]")),
	  "layers[0][1]: is 1, and may be 3 to 4" },
	{ PROFILE(MODEL, MEMORY, WIDTH(CURVE, "[[0,3],[2,4]]")), "layer 2 has a kind already" },
	{ PROFILE(MODEL, MEMORY, WIDTH(CURVE, "[[0,3]]")), "layer 3 of 4 is of no kind" },
};

static void each_fault_of_a_profile_is_named_with_its_place(void **state)
{
	char *path = in_dir("FILE");

	(void)state;
	assert_int_equal(chdir(dir), 0);
	for (size_t i = 0; i < ARRAY_SIZE(profile_faults); i++) {
		struct sherd_profile *p;
		struct sherd_error err = { "" };

		write_file("FILE", profile_faults[i].text);
		assert_int_equal(sherd_profile_read(&p, "FILE", &err), -EINVAL);
		assert_null(p);
		check_sentence(&err, &profile_faults[i]);
	}
	free(path);
}

static void a_profile_beside_the_cluster_is_found_and_bounds_its_memory(void **state)
{
	static const char beside[] =
		"{\"nodes\":[{\"name\":\"b\",\"address\":\"h:2\",\"profile\":\"p.json\"}]}";
	static const char more[] = "{\"nodes\":[{\"name\":\"b\",\"address\":\"h:2\",\"memory\":101,"
				   "\"profile\":\"p.json\"}]}";
	char *path = in_dir("sub/cluster.json");
	struct sherd_cluster *c;
	struct sherd_error err;

	(void)state;
	write_file("sub/p.json", PROFILE(MODEL, MEMORY, WIDTH(CURVE, "[[0,4]]")));
	write_file("sub/cluster.json", beside);
	assert_int_equal(sherd_cluster_read(&c, path, &err), 0);
	assert_int_equal(sherd_cluster_memory(&c->nodes[0]), 50);
	assert_true(sherd_curve_at(&c->nodes[0].profile->widths[0].kinds[0].us, 4) == 9.5);
	sherd_cluster_free(c);
	write_file("sub/cluster.json", more);
	assert_int_equal(sherd_cluster_read(&c, path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "nodes[0].memory: "));
	assert_non_null(strstr(err.msg, "that its profile says the machine has"));
	assert_int_equal(sherd_cluster_parse(&c, beside, strlen(beside), "FILE", NULL, &err),
			 -EINVAL);
	free(path);
}

static void a_profile_is_read_as_it_was_written(void **state)
{
	char *path = in_dir("p.json"), *again = in_dir("again.json"), *a, *b;
	struct sherd_profile *p;
	struct sherd_error err;
	size_t n, m;

	(void)state;
	write_file("p.json", PROFILE(MODEL, MEMORY, WIDTH(CURVE, "[[0,1],[1,4]]")));
	assert_int_equal(sherd_profile_read(&p, path, &err), 0);
	assert_non_null(sherd_profile_width(p, 0));
	assert_null(sherd_profile_width(p, 4));
	assert_int_equal(sherd_json_write(sherd_profile_to_json(p), path, &err), 0);
	sherd_profile_free(p);
	assert_int_equal(sherd_profile_read(&p, path, &err), 0);
	assert_int_equal(sherd_json_write(sherd_profile_to_json(p), again, &err), 0);
	sherd_profile_free(p);
	assert_int_equal(sherd_read_file(path, 1 << 20, &a, &n, &err), 0);
	assert_int_equal(sherd_read_file(again, 1 << 20, &b, &m, &err), 0);
	assert_string_equal(a, b);
	free(a);
	free(b);
	free(path);
	free(again);
}

/* ------------------------------------------------------------------- plans */

static struct sherd_plan *random_plan(uint64_t *rng)
{
	struct sherd_plan *p = calloc(1, sizeof(*p));
	int at = 0;

	strcpy(p->model_hash, HASH);
	strcpy(p->arch, "llama");
	if (tiny_below(rng, 2))
		strcpy(p->model_path, "/models/tiny.gguf");
	p->n_layers = 1 + tiny_below(rng, 60);
	p->hidden = 32 * (1 + tiny_below(rng, 100));
	p->bits = 4 * tiny_below(rng, 3);
	p->wire = (enum sherd_wire)tiny_below(rng, 3);
	p->kv = (enum sherd_kv_type)tiny_below(rng, 3);
	p->n_ctx = 1 + tiny_below(rng, 5000);
	p->n_sessions = 1 + tiny_below(rng, 9);
	p->chunk = 1 + tiny_below(rng, 256);
	while (at < p->n_layers) {
		struct sherd_stage_span *s = &p->stages[p->n_stages++];

		*s = (struct sherd_stage_span){ p->n_nodes++, at,
						at + 1 + tiny_below(rng, p->n_layers - at) };
		at = s->end;
	}
	p->n_nodes += 2;
	for (int i = 0; i < p->n_nodes; i++) {
		snprintf(p->nodes[i].name, sizeof(p->nodes[i].name), "n%d", i);
		snprintf(p->nodes[i].address, sizeof(p->nodes[i].address), "10.0.0.%d:7433", i);
		p->nodes[i].memory = tiny_random(rng);
	}
	p->n_spares = tiny_below(rng, 3);
	for (int i = 0; i < p->n_spares; i++)
		p->spares[i] =
			(struct sherd_plan_spare){ p->n_nodes - 1 - i,
						   (uint64_t)1 << tiny_below(rng, p->n_stages) };
	p->predicted.known = tiny_below(rng, 2);
	p->predicted.n_prompt = 128;
	return p;
}

static void a_plan_is_read_as_it_was_written(void **state)
{
	char *path = in_dir("plan.json");
	struct sherd_error err = { "" };

	(void)state;
	for (int i = 0; i < 50; i++) {
		uint64_t rng = seed + (uint64_t)i;
		struct sherd_plan *p = random_plan(&rng), *q = NULL;
		int cuts[SHERD_CLUSTER_NODES];

		assert_int_equal(sherd_plan_write(p, path, &err), 0);
		if (sherd_plan_read(&q, path, &err))
			fail_msg("plan %d: %s", i, err.msg);
		for (int k = 0; k < p->n_stages; k++)
			assert_string_equal(p->nodes[p->stages[k].node].name,
					    q->nodes[q->stages[k].node].name);
		assert_memory_equal(p->nodes, q->nodes, sizeof(p->nodes));
		assert_memory_equal(p->stages, q->stages, sizeof(p->stages));
		assert_memory_equal(p->spares, q->spares, sizeof(p->spares));
		assert_int_equal(p->bits, q->bits);
		assert_int_equal(p->wire, q->wire);
		assert_int_equal(p->kv, q->kv);
		assert_int_equal(p->chunk, q->chunk);
		assert_int_equal(p->n_ctx, q->n_ctx);
		assert_int_equal(p->predicted.known, q->predicted.known);
		assert_int_equal(sherd_plan_cuts(q, cuts), p->n_stages - 1);
		free(p);
		free(q);
	}
	free(path);
}

#define PLAN(model, nodes, stages, more)                                                      \
	"{\"sherd_plan\":1,\"model\":" model ",\"wire\":\"int8\",\"kv\":\"f16\",\"n_ctx\":9," \
	"\"n_sessions\":1,\"chunk\":8,\"nodes\":" nodes ",\"stages\":" stages more "}"
#define PLAN_MODEL                                                                         \
	"{\"hash\":\"" HASH "\",\"arch\":\"llama\",\"n_layers\":4,\"hidden\":64,\"bits\":" \
			    "\"file\"}"
#define PLAN_NODES \
	"{\"a\":{\"address\":\"h:1\"},\"b\":{\"address\":\"h:2\"},\"c\":{\"address\":\"h:3\"}}"
#define STAGE(node, first, end) "{\"node\":\"" node "\",\"first\":" #first ",\"end\":" #end "}"
#define STAGES "[" STAGE("a", 0, 2) "," STAGE("b", 2, 4) "]"

static const struct fault plan_faults[] = {
	{ "null", "is not JSON" },
	{ "{\"sherd_plan\":7}", "sherd_plan: is 7, and may be 1 to 1" },
	{ "{\"sherd_plam\":1}", "did you mean \"sherd_plan\"" },
	{ "{\"nodes\":[{\"name\":\"a\",\"address\":\"h:1\"}]}",
	  "FILE: is no plan (sherd plan -o writes one)" },
	{ "{\"sherd_profile\":1}", "FILE: is no plan" },
	{ "{\"sherd_plan\":1,\"wire\":\"int8\",\"kv\":\"f16\",\"n_ctx\":9,"
	  "\"n_sessions\":4097,\"chunk\":8}",
	  "n_sessions: is 4097, and may be 1 to 4096" },
	{ "{\"sherd_plan\":1,\"wire\":\"int8\",\"kv\":\"f16\",\"n_ctx\":9,"
	  "\"n_sessions\":1,\"chunk\":4097}",
	  "chunk: is 4097, and may be 1 to 4096" },
	{ PLAN("{\"hash\":\"" HASH "\"}", PLAN_NODES, STAGES, ""), "model.arch: is missing" },
	{ PLAN(PLAN_MODEL, "{}", STAGES, ""), "nodes: an object of 1 to 64 nodes is needed" },
	{ PLAN(PLAN_MODEL, "{\"a b\":{\"address\":\"h:1\"}}", STAGES, ""),
	  "can't be a node's name" },
	{ PLAN(PLAN_MODEL, "{\"a\":{\"address\":\"h\"}}", STAGES, ""),
	  "nodes.a.address: \"h\" is not an" },
	{ PLAN(PLAN_MODEL, "{\"a\":{\"address\":\"h:1\"},\"b\":{\"address\":\"h:1\"}}", STAGES, ""),
	  "nodes.b: has the address h:1 of node \"a\"" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[]", ""), "stages: has 0 entries, and may have 1 to 4" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[" STAGE("a", 0, 2) "]", ""),
	  "layers 2 to 3 have no stage" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[" STAGE("a", 1, 4) "]", ""),
	  "is 1 where layer 0 is next" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[" STAGE("a", 0, 2) "," STAGE("b", 3, 4) "]", ""),
	  "stages[1].first: is 3 where layer 2 is next" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[" STAGE("a", 0, 3) "," STAGE("b", 2, 4) "]", ""),
	  "is 2 where layer 3 is next" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[" STAGE("a", 0, 0) "]", ""), "stages[0].end: is 0" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[" STAGE("a", 0, 5) "]", ""),
	  "end: is 5, and may be 1 to 4" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[" STAGE("d", 0, 4) "]", ""),
	  "\"d\" is not among the plan's nodes" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, "[" STAGE("a", 0, 2) "," STAGE("a", 2, 4) "]", ""),
	  "stages[1]: node \"a\" has stage 0 already" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, STAGES, ",\"spares\":[{\"node\":\"c\",\"spans\":[[0,3]]}]"),
	  "layers 0 to 2 are no stage" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, STAGES,
	       ",\"spares\":[{\"node\":\"c\",\"spans\":[[0,2],[0,2]]}]"),
	  "spares[0].spans[1]: is there twice" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, STAGES,
	       ",\"spares\":[{\"node\":\"c\",\"spans\":[[0,2]]},{\"node\":\"c\",\"spans\":[[2,4]]}"
	       "]"),
	  "\"c\" is a spare already" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, STAGES, ",\"wire\":\"int9\""), "duplicate object key" },
	{ PLAN(PLAN_MODEL, PLAN_NODES, STAGES, ",\"predicted\":{\"objective\":\"fun\"}"),
	  "predicted.objective: \"fun\" is none of latency, throughput" },
};

static void each_fault_of_a_plan_is_named_with_its_place(void **state)
{
	static const char good[] = PLAN(PLAN_MODEL, PLAN_NODES, STAGES, "");
	struct sherd_plan *p;
	struct sherd_error err = { "" };

	(void)state;
	assert_int_equal(sherd_plan_parse(&p, good, strlen(good), "FILE", &err), 0);
	free(p);
	for (size_t i = 0; i < ARRAY_SIZE(plan_faults); i++) {
		const struct fault *f = &plan_faults[i];

		assert_int_equal(sherd_plan_parse(&p, f->text, strlen(f->text), "FILE", &err),
				 -EINVAL);
		assert_null(p);
		check_sentence(&err, f);
	}
}

static void a_plan_that_cannot_be_written_leaves_nothing(void **state)
{
	uint64_t rng = seed;
	struct sherd_plan *p = random_plan(&rng);
	char *path = in_dir("nowhere/plan.json");
	struct sherd_error err;

	(void)state;
	assert_int_equal(sherd_plan_write(p, path, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "nowhere"));
	strcpy(p->model_path, "\xff\xfe"); /* JSON has no way to say this */
	free(path);
	path = in_dir("plan2.json");
	assert_int_equal(sherd_plan_write(p, path, &err), -ENOMEM);
	assert_int_equal(access(path, F_OK), -1);
	free(path);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_fault_of_a_cluster_is_named_with_its_place),
		cmocka_unit_test(a_link_holds_both_ways_unless_both_are_given),
		cmocka_unit_test(each_fault_of_a_profile_is_named_with_its_place),
		cmocka_unit_test(a_profile_beside_the_cluster_is_found_and_bounds_its_memory),
		cmocka_unit_test(a_profile_is_read_as_it_was_written),
		cmocka_unit_test(a_plan_is_read_as_it_was_written),
		cmocka_unit_test(each_fault_of_a_plan_is_named_with_its_place),
		cmocka_unit_test(a_plan_that_cannot_be_written_leaves_nothing),
	};

	seed = tiny_seed() * 0x9e3779b97f4a7c15u; /* neighbours have nothing in common */
	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
