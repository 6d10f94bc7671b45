/* SPDX-License-Identifier: MIT */
/*
 * devices: the OpenCL devices of this machine, with the numbers that --device takes, and which one
 * sherd would take and why. What a driver says is shown as it says it; nothing is compiled. With
 * --forget what speaks against devices is forgotten instead, and no driver is loaded.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "device/device.h"
#include "tool.h"

static const char about[] =
	"Lists the OpenCL devices of this machine: number, name, driver, size, the instructions that "
	"int8 products would be made of, and which device sherd takes without --device, and why.\n\n"
	"  sherd devices\n"
	"  sherd devices --json | jq -r '.devices[].name'\n"
	"  sherd devices --forget      (what failed gets another chance, and the fastest is measured anew)\n"
	"  sherd run -m model.gguf --device 1 -p Hello";

struct devices {
	struct sherd_device_info *list;
	int n;
	struct sherd_device *chosen; /* NULL: none can be opened */
	struct sherd_error refused;  /* why */
};

static const char *type_of(const struct sherd_device_info *i)
{
	return i->is_gpu ? "GPU" : i->is_cpu ? "CPU" : "accelerator";
}

/* What is worth knowing of what a driver offers. */
static const char *const extensions[] = {
	"cl_khr_integer_dot_product",
	"cl_arm_integer_dot_product_int8",
	"cl_arm_integer_dot_product_accumulate_int8",
	"cl_khr_fp16",
	"cl_khr_subgroups",
	"cl_arm_import_memory",
	"cl_khr_external_memory_dma_buf",
	"cl_khr_command_buffer",
};

static const char *dot_of(const struct sherd_device_info *i)
{
	const char *dot = i->usable ? sherd_dot_choose(i, NULL, NULL) : NULL;

	return dot ? dot : "none";
}

/* Of several that are alike the first is taken. */
static bool is_chosen(const struct devices *d, int i)
{
	const struct sherd_device_info *c = d->chosen ? &d->chosen->info : NULL;
	int first;

	for (first = 0; c && first < i; first++)
		if (!strcmp(c->name, d->list[first].name) &&
		    !strcmp(c->platform, d->list[first].platform))
			return false;
	return c && !strcmp(c->name, d->list[i].name) && !strcmp(c->platform, d->list[i].platform);
}

static void print_line(const char *label, const char *text)
{
	char *harmless = tool_harmless(text);

	printf("    %-11s %s\n", label, harmless ? harmless : "?");
	free(harmless);
}

static void print_device(const struct devices *d, int i)
{
	const struct sherd_device_info *info = &d->list[i];
	char text[1024], *name = tool_harmless(info->name);
	size_t n = 0;

	printf("%s%d  %s%s\n", i ? "\n" : "", i, name ? name : "?",
	       is_chosen(d, i) ? "   <- taken without --device" : "");
	free(name);
	snprintf(text, sizeof(text), "%s, %d compute units%s", type_of(info), info->compute_units,
		 info->host_unified ? ", shares the host's memory" : "");
	print_line("type", text);
	snprintf(text, sizeof(text), "%s, %s, driver %s", info->platform, info->version,
		 info->driver);
	print_line("driver", text);
	snprintf(text, sizeof(text), "%s, at most %s in one buffer", tool_bytes(info->global_mem),
		 tool_bytes(info->max_alloc));
	print_line("memory", text);
	snprintf(text, sizeof(text), "%d MHz at most, as the driver says", info->clock_mhz);
	print_line("clock", text);
	print_line("int8", dot_of(info));
	text[0] = '\0';
	for (size_t e = 0; e < ARRAY_SIZE(extensions); e++)
		if (sherd_device_has(info, extensions[e]) && n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? " " : "",
					      extensions[e]);
	print_line("extensions", n ? text : "none that sherd uses");
	if (!info->usable)
		print_line("not usable", info->why);
}

/* A sentence about a driver that is not loaded. */
static void print_left_out(void *ctx, const char *sentence)
{
	char *harmless = tool_harmless(sentence);

	(void)ctx;
	printf("\n%s\n", harmless ? harmless : "?");
	free(harmless);
}

static void print_failure(void *ctx, const char *sentence)
{
	char *harmless = tool_harmless(sentence);

	printf("%sat an earlier start: %s\n", *(int *)ctx ? "" : "\n", harmless ? harmless : "?");
	++*(int *)ctx;
	free(harmless);
}

static void print_text(const struct devices *d)
{
	int failures = 0;

	for (int i = 0; i < d->n; i++)
		print_device(d, i);
	sherd_each_line(sherd_icd_skipped(), print_left_out, NULL);
	sherd_device_each_failure(print_failure, &failures);
	if (failures)
		puts("with the same driver and release it stays so; " SHERD_FORGET " gives another chance");
	if (d->chosen)
		printf("\nsherd takes %s: %s\n", d->chosen->info.name, d->chosen->info.why);
	else
		printf("\nsherd takes none: %s\n", d->refused.msg);
	if (d->chosen && (d->n > 1 || !d->chosen->info.is_cpu))
		puts("unless another multiplies a model's matrices faster, which its first use "
		     "measures");
}

static json_t *device_json(const struct devices *d, int i)
{
	const struct sherd_device_info *info = &d->list[i];
	char *name = tool_harmless(info->name), *driver = tool_harmless(info->driver);
	char *version = tool_harmless(info->version), *platform = tool_harmless(info->platform);
	json_t *o =
		json_pack("{s:i,s:s*,s:s,s:s*,s:s*,s:s*,s:i,s:i,s:I,s:I,s:b,s:s,s:b,s:b}", "number",
			  i, "name", name, "type", type_of(info), "platform", platform, "version",
			  version, "driver", driver, "compute_units", info->compute_units,
			  "clock_mhz", info->clock_mhz, "memory", (json_int_t)info->global_mem,
			  "max_buffer", (json_int_t)info->max_alloc, "unified", info->host_unified,
			  "int8", dot_of(info), "usable", info->usable, "taken", is_chosen(d, i));
	json_t *list = json_array();

	for (size_t e = 0; e < ARRAY_SIZE(extensions); e++)
		if (sherd_device_has(info, extensions[e]))
			json_array_append_new(list, json_string(extensions[e]));
	if (o)
		json_object_set_new(o, "extensions", list);
	else
		json_decref(list);
	if (o && !info->usable)
		json_object_set_new(o, "why", json_string(info->why));
	free(name);
	free(driver);
	free(version);
	free(platform);
	return o;
}

static void add_sentence(void *ctx, const char *sentence)
{
	char *harmless = tool_harmless(sentence);

	json_array_append_new(ctx, json_string(harmless ? harmless : "?"));
	free(harmless);
}

static int print_json(const struct devices *d)
{
	json_t *all = json_object(), *list = json_array(), *left_out = json_array();
	json_t *failures = json_array();
	char *text;

	for (int i = 0; i < d->n; i++)
		json_array_append_new(list, device_json(d, i));
	json_object_set_new(all, "devices", list);
	sherd_each_line(sherd_icd_skipped(), add_sentence, left_out);
	json_object_set_new(all, "left_out", left_out);
	sherd_device_each_failure(add_sentence, failures);
	json_object_set_new(all, "failures", failures);
	json_object_set_new(all, "why",
			    json_string(d->chosen ? d->chosen->info.why : d->refused.msg));
	text = json_dumps(all, JSON_INDENT(2));
	json_decref(all);
	if (!text)
		return tool_failf(&tool_devices, "out of memory");
	puts(text);
	free(text);
	return TOOL_OK;
}

static int forget(bool json)
{
	struct sherd_error err;
	int n;

	if (sherd_device_forget(&n, &err))
		return tool_fail(&tool_devices, &err);
	if (json)
		printf("{\n  \"forgotten\": %d\n}\n", n);
	else if (!n)
		puts("nothing spoke against a device, and none was chosen by measurement");
	else
		printf("forgot %d thing%s that spoke against devices, or for one: the next start "
		       "tries, and measures, again\n",
		       n, n > 1 ? "s" : "");
	return tool_flush(&tool_devices) ? TOOL_OK : TOOL_FAILED;
}

static int devices_main(int argc, char **argv)
{
	struct devices d = { .n = 0 };
	struct sherd_error err;
	bool json = false, forgets = false;
	const struct opt opts[] = {
		{ 0, "forget", OPT_FLAG, &forgets, 0, 0, NULL,
		  "forget which devices and drivers have failed, and which was measured to be the "
		  "fastest; what passed stays" },
		{ 0, "json", OPT_FLAG, &json, 0, 0, NULL, "print JSON" },
		{ 0 },
	};
	int rc = opt_parse(&tool_devices, opts, &argc, argv);

	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (argc > 0)
		return tool_usage(&tool_devices, "'%s' is one argument too many", argv[0]);
	if (forgets)
		return forget(json);
	if (sherd_device_list(&d.list, &d.n, &err))
		return tool_fail(&tool_devices, &err);
	if (sherd_device_open(&d.chosen, NULL, 0, NULL, &d.refused))
		d.chosen = NULL;
	if (json)
		rc = print_json(&d);
	else
		print_text(&d);
	if (!d.chosen)
		rc = TOOL_FAILED;
	sherd_device_close(d.chosen);
	sherd_device_list_free(d.list, d.n);
	return tool_flush(&tool_devices) ? rc : TOOL_FAILED;
}

const struct tool tool_devices = {
	.name = "devices",
	.synopsis = "[--forget] [--json]",
	.summary = "list the OpenCL devices, and say which one is taken",
	.about = about,
	.main = devices_main,
};
